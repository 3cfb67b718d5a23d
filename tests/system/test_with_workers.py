"""
The tests of the running daemon, once more with two workers: which, and why not the others.

Those that say most of workers run each time, all that can with C{make test-daemon WORKERS=2}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.workers import WithWorkers, WorkersCase

#: Whether all run that can.
ALL = os.environ.get("WORKERS") == "2"

#: Run each time: what a master and its workers do together.
ESSENTIAL = """
activation.ServedTests control.CommandTests control.HostileClientTests faults.FaultTests
lifecycle.ReloadTests lifecycle.StopTests proxy.HeaderTests tls.RenewalTests web.WebTests
""".split()

#: Run with L{ALL}: what each worker does as one process does.
OTHERS = """
access.ForgedSourceTests access.RateLimitTests clients.TerminalTests
console.PipeTests control.SocketTests control.SubcommandTests
datagram_faults.DatagramTests examples.ExampleTests ipsla.IpslaTests
legitimate_clients.OwnAddressTests legitimate_clients.RepeatTests legitimate_clients.VictimTests
lifecycle.EndingTests lifecycle.HangupTests logs.LogTests loops.LoopTests nts.NtsTests
record.RecordTests seeds.AckTests seeds.OptionTests seeds.ServerTests
seeds.TalkTests seeds.TimeTests seeds.UpperTests stamp.StampTests
start.ReplyTests start.StopTests start.UnixTests stream_faults.StreamTests stream_faults.TlsTests
streams.CompleteTests streams.MalformedTests streams.SlowTests
time.TimeTests tls.ClientTests tls.DeadlineTests tls.EndTests tls.ServiceTests whoami.WhoamiTests
""".split()

#: Run with one process only: what they are about, or single tests of the above, and why.
ALONE = {
    "access.FullTests": "one source has the part of one worker: tests.workers.test_limits",
    "access.SlowlorisTests": "one source has the part of one worker: tests.workers.test_limits",
    "access.SweepTests": "half of the sources do not fill the tables of a worker",
    "activation.RefusedTests": "no daemon comes up",
    "clients.LinkLocalTests": "no daemon comes up",
    "clients.RunTests": "no daemon comes up",
    "console.TerminalTests": "an answer of a worker is drawn later: one_daemon.OperatorTests",
    "proxy.RefusedTests": "each worker counts for itself behind a balancer",
    "rules.PageTests": "a page starts its daemons by itself",
    "seeds.ShippedTests": "a file is read only",
    "serve.EndTests": "socketd serve is one process",
    "serve.JsonTests": "socketd serve is one process",
    "serve.ServeTests": "socketd serve is one process",
    "shared_port.SharedPortTests": "so_reuseport is not for workers",
    "start.BindTests": "no daemon comes up",
    "start.ConfigurationTests": "no daemon comes up",
    "start.SearchTests": "no daemon comes up",
    "streams.ManyConnectionsTests": "each process has its own limit of descriptors",
    "testing.PageTests": "socketd.testing starts one process",
    "testing.ServerTests": "socketd.testing starts one process",
    "tls.CheckTests": "no daemon comes up",
}


def _class(name: str) -> type:
    module, _, found = name.partition(".")
    made: type = getattr(import_module(f"tests.system.test_{module}"), found)
    return made


def _with_workers(name: str) -> tuple[str, type]:
    """Make a class of tests with workers, named by module and class."""
    found = _class(name)
    made = name.partition(".")[0].title().replace("_", "") + found.__name__
    return made, type(made, (WithWorkers, found), {"__module__": __name__})


globals().update(map(_with_workers, ESSENTIAL + (OTHERS if ALL else [])))


class TableTests(SynchronousTestCase):
    """Tests for the table."""

    def test_whole(self) -> None:
        """Each class of tests of the folder is in it once, but for those of workers."""
        paths = Path(__file__).parent.glob("test_*.py")
        found = sorted(name for path in paths for name in _tests_of(path.stem))
        self.assertEqual(found, sorted([*ESSENTIAL, *OTHERS, *ALONE]))


def _tests_of(module: str) -> Iterator[str]:
    for name, found in vars(import_module(f"tests.system.{module}")).items():
        is_test = isinstance(found, type) and issubclass(found, SynchronousTestCase)
        if is_test and found.__module__.endswith(f".{module}") and name.endswith("Tests"):
            if not issubclass(found, WorkersCase | WithWorkers) and found is not TableTests:
                yield f"{module.removeprefix('test_')}.{name}"
