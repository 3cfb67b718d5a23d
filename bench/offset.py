"""How wrong this machine's clock is by a server of the time, as chronyd sees it."""

from __future__ import annotations

import re
from contextlib import suppress
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired

from bench.load import LoadFailed
from bench.peers.listening import HOST
from bench.process import Running
from bench.servers import chronyd

#: What chronyd says at its end (seconds).
WRONG = re.compile(r"System clock wrong by (-?\d+\.\d+) seconds")

#: One sample: a further one would come two seconds later.
SERVER = "server {host} port {port} iburst maxsamples 1"

_US = 1e6


def ask(running: Running) -> Popen[str]:
    """Have chronyd ask a server."""
    own = (f"pidfile {running.log.parent}/asking.pid", "cmdport 0", "bindcmdaddress /")
    command = chronyd("-Q", "-t", "3", *own, SERVER.format(host=HOST, port=running.port))
    return Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True)


def us(asked: Popen[str], limit: float) -> float:
    """
    Read what chronyd says, and end it.

    @param limit: how long it may take still (seconds).
    @return: how wrong the clock is, in either direction (microseconds).
    @raise LoadFailed: if it does not say so in time.
    """
    with asked:
        with suppress(TimeoutExpired):
            asked.wait(limit)
        asked.kill()
        said = asked.communicate()[0]
    found = WRONG.search(said)
    if found is None:
        raise LoadFailed(f"chronyd has no offset: {said.strip().splitlines()[-1:]}")
    return abs(float(found[1])) * _US
