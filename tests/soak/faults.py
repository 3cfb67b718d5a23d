"""The table of faults: what is done to the daemon while it serves."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from random import Random
from threading import Event

from attrs import define, field, frozen

from tests.soak import configuration
from tests.soak.configuration import BANNED
from tests.soak.loads import Crowd
from tests.soak.server import Server, wait_until
from tests.soak.wires import Mismatch

#: How long the daemon is stopped, and a ban or a rest lasts at most (seconds).
STOPPED, BAN, REST = 0.5, 1.0, 1.0

LEVELS = ("debug", "info", "warn", "error")

#: The daemon looks at its certificates every 5 seconds.
RENEWAL = 15.0


@define(eq=False)
class Trouble:
    """
    Whoever makes faults, and what he has done.

    @ivar random: decides.
    @ivar over: set when he is to stop.
    @ivar done: how often each fault was made.
    @ivar reloads: how often a reload was carried out, and refused.
    """

    server: Server
    crowd: Crowd
    random: Random
    over: Event
    done: Counter[str] = field(factory=Counter)
    reloads: Counter[str] = field(factory=Counter)

    def wait(self, seconds: float) -> None:
        """Pass time, unless all is over."""
        self.over.wait(seconds)

    def demand(self, line: str) -> None:
        """
        Have a command carried out.

        @raise Mismatch: if it is not.
        """
        answer = self.server.ask(line)
        if not answer["ok"]:
            raise Mismatch(f"{line}: {answer!r}")

    def reload(self) -> None:
        """Have a good file read."""
        self.demand("reload")
        self.reloads["done"] += 1
        self.server.find_places()

    def refused(self, text: str) -> None:
        """
        Have a bad file read.

        @raise Mismatch: if it is taken.
        """
        self.server.configure(text)
        answer = self.server.ask("reload")
        if answer["ok"] or not answer["details"]:
            raise Mismatch(f"a bad file is taken: {text!r}")
        self.reloads["refused"] += 1

    def back_to_base(self) -> None:
        """Bring everything back to where it was in the beginning."""
        self.server.configure(configuration.base(self.server.directory))
        self.reload()
        self.demand("log-level info")


def reload(trouble: Trouble) -> None:
    """Other options, and a service that comes or goes, by the control socket."""
    server = trouble.server
    server.configure(configuration.variant(server.directory, trouble.random))
    trouble.reload()


def hang_up(trouble: Trouble) -> None:
    """The same by SIGHUP."""
    server = trouble.server
    done = server.figures().get("config_reloads_total", result="done")
    server.configure(configuration.variant(server.directory, trouble.random))
    server.send(signal.SIGHUP)
    wait_until(
        lambda: server.figures().get("config_reloads_total", result="done") > done, "a reload"
    )
    trouble.reloads["done"] += 1
    server.find_places()


def bad_file(trouble: Trouble) -> None:
    """A file that cannot be read as a configuration."""
    trouble.refused(trouble.random.choice(configuration.BAD))


def unbindable(trouble: Trouble) -> None:
    """A file with an address that somebody else has."""
    server = trouble.server
    trouble.refused(configuration.unbindable(server.directory, server.web()))


def renewal(trouble: Trouble) -> None:
    """Another certificate; it is taken at the daemon's next look."""
    trouble.server.renew(1 - trouble.server.shown)


def bad_certificate(trouble: Trouble) -> None:
    """No certificate: the daemon keeps the one that it has, and says so."""
    server = trouble.server
    size = server.log_size()
    server.certificate.write_bytes(b"no certificate\n")
    try:
        kept = lambda: "keeps its certificates" in server.log_since(size)  # noqa: E731
        wait_until(kept, "a check of the certificates", timeout=RENEWAL)
    finally:
        server.renew(server.shown)


def log_level(trouble: Trouble) -> None:
    """More in the log, or less."""
    trouble.demand(f"log-level {trouble.random.choice(LEVELS)}")


def ban(trouble: Trouble) -> None:
    """A source is served no more, for a moment."""
    trouble.demand(f"ban {BANNED} for 1h")
    trouble.wait(trouble.random.uniform(0, BAN))
    trouble.demand(f"unban {BANNED}")


def stop_and_go(trouble: Trouble) -> None:
    """The daemon does not run for a moment."""
    trouble.server.send(signal.SIGSTOP)
    try:
        trouble.wait(STOPPED)
    finally:
        trouble.server.send(signal.SIGCONT)


def rest(trouble: Trouble) -> None:
    """A group of clients goes, and comes back."""
    group = trouble.random.choice(trouble.crowd.groups)
    group.rest()
    trouble.wait(trouble.random.uniform(0, REST))
    group.go_on()


@frozen
class Fault:
    """
    One kind of fault.

    @ivar name: its name.
    @ivar make: makes it, and takes it back.
    @ivar is_long: whether it takes seconds.
    """

    name: str
    make: Callable[[Trouble], None]
    is_long: bool = False


FAULTS = (
    Fault("reload", reload),
    Fault("reload by SIGHUP", hang_up),
    Fault("bad file", bad_file),
    Fault("address taken", unbindable),
    Fault("certificate renewed", renewal),
    Fault("bad certificate", bad_certificate, True),
    Fault("log level", log_level),
    Fault("ban", ban),
    Fault("stopped for a moment", stop_and_go),
    Fault("clients rest", rest),
)


def make_faults(trouble: Trouble, pause: float, with_long: bool, all_once: bool) -> None:
    """
    Make all faults in a drawn order, again and again.

    @param pause: between two, at most (seconds).
    @param all_once: whether each is made once, even if there is no time for it.
    """
    order = [fault for fault in FAULTS if with_long or not fault.is_long]
    while all_once or not trouble.over.is_set():
        for fault in trouble.random.sample(order, len(order)):
            if trouble.over.is_set() and not all_once:
                return
            _make(trouble, fault)
            trouble.wait(trouble.random.uniform(0, pause))
        all_once = False


def _make(trouble: Trouble, fault: Fault) -> None:
    try:
        fault.make(trouble)
        trouble.done[fault.name] += 1
    except Exception as problem:
        trouble.crowd.note(f"{fault.name}: {type(problem).__name__}: {problem}")
