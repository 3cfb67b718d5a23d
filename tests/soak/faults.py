"""The table of faults: what is done to the daemon while it serves."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from random import Random
from threading import Event

from attrs import define, field, frozen

from tests.soak import configuration
from tests.soak.configuration import BANNED
from tests.soak.loads import ClientPool
from tests.soak.server import Server, wait_until
from tests.soak.connections import Mismatch

#: How long the daemon is stopped, and a ban or a rest lasts at most (seconds).
STOPPED, BAN, REST = 0.5, 1.0, 1.0

LEVELS = ("debug", "info", "warn", "error")

#: The daemon checks its certificates every 5 seconds.
RENEWAL = 15.0


@define(eq=False)
class FaultInjector:
    """
    Injects faults, and counts them.

    @ivar over: set when it is to stop.
    @ivar done: how often each fault was injected.
    @ivar reloads: how often a reload was carried out, and refused.
    """

    server: Server
    clients: ClientPool
    random: Random
    over: Event
    done: Counter[str] = field(factory=Counter)
    reloads: Counter[str] = field(factory=Counter)

    def wait(self, seconds: float) -> None:
        """Pause, unless the run ends."""
        self.over.wait(seconds)

    def demand(self, line: str) -> None:
        """Have a command carried out; raise L{Mismatch} if it is not."""
        answer = self.server.ask(line)
        if not answer["ok"]:
            raise Mismatch(f"{line}: {answer!r}")

    def reload(self) -> None:
        """Have a good file read."""
        self.demand("reload")
        self.reloads["done"] += 1
        self.server.find_addresses()

    def refused(self, text: str) -> None:
        """Have a bad file read; raise L{Mismatch} if it is taken."""
        self.server.configure(text)
        answer = self.server.ask("reload")
        if answer["ok"] or not answer["details"]:
            raise Mismatch(f"a bad file is taken: {text!r}")
        self.reloads["refused"] += 1

    def restore_base(self) -> None:
        """Restore the configuration and log level of the beginning."""
        self.server.configure(configuration.base(self.server.directory))
        self.reload()
        for service in configuration.PROFILES:
            self.demand(f"fault {service} off now")
        self.demand("log-level info")


def reload(injector: FaultInjector) -> None:
    """Other options, and a service that comes or goes, by the control socket."""
    server = injector.server
    server.configure(configuration.variant(server.directory, injector.random))
    injector.reload()


def reload_by_signal(injector: FaultInjector) -> None:
    """The same by SIGHUP."""
    server = injector.server
    done = server.figures().get("config_reloads_total", result="done")
    server.configure(configuration.variant(server.directory, injector.random))
    server.send(signal.SIGHUP)
    wait_until(
        lambda: server.figures().get("config_reloads_total", result="done") > done, "a reload"
    )
    injector.reloads["done"] += 1
    server.find_addresses()


def bad_file(injector: FaultInjector) -> None:
    """A file that cannot be read as a configuration."""
    injector.refused(injector.random.choice(configuration.BAD))


def unbindable(injector: FaultInjector) -> None:
    """A file with an address that another socket has."""
    server = injector.server
    injector.refused(configuration.unbindable(server.directory, server.web()))


def renewal(injector: FaultInjector) -> None:
    """Another certificate, which the daemon loads at its next check."""
    injector.server.renew(1 - injector.server.shown)


def bad_certificate(injector: FaultInjector) -> None:
    """No certificate: the daemon keeps the one that it has, and logs so."""
    server = injector.server
    size = server.log_size()
    server.certificate.write_bytes(b"no certificate\n")
    try:
        kept = lambda: "keeps its old certificates" in server.log_since(size)  # noqa: E731
        wait_until(kept, "a check of the certificates", timeout=RENEWAL)
    finally:
        server.renew(server.shown)


def log_level(injector: FaultInjector) -> None:
    """More in the log, or less."""
    injector.demand(f"log-level {injector.random.choice(LEVELS)}")


def ban(injector: FaultInjector) -> None:
    """A source is banned for a moment."""
    injector.demand(f"ban {BANNED} for 1h")
    injector.wait(injector.random.uniform(0, BAN))
    injector.demand(f"unban {BANNED}")


def profile(injector: FaultInjector) -> None:
    """Another fault profile, or none, for what comes from now on, or for all."""
    for service, names in configuration.PROFILES.items():
        words = injector.random.choice(names), injector.random.choice(("", " now"))
        injector.demand(f"fault {service} {''.join(words)}")


def rotation(injector: FaultInjector) -> None:
    """The keys of NTS are a day older, so that they are rotated; cookies stay good."""
    server = injector.server
    done = _rotations(server)
    server.age_keys()
    wait_until(lambda: _rotations(server) > done, "a rotation of the keys")


def _rotations(server: Server) -> int:
    """Count those of both services; the one that reads the file first has them."""
    figures = server.figures()
    found = (figures.by_labels("nts_keys_total", name) for name in ("nts-ke", "nts"))
    return sum(one["rotated"] for one in found)


def stop_and_continue(injector: FaultInjector) -> None:
    """The daemon, or one of its workers, does not run for a moment."""
    process = injector.random.choice(injector.server.processes())
    os.kill(process, signal.SIGSTOP)
    try:
        injector.wait(STOPPED)
    finally:
        os.kill(process, signal.SIGCONT)


def rest(injector: FaultInjector) -> None:
    """A group of clients pauses."""
    group = injector.random.choice(injector.clients.groups)
    group.going.clear()
    injector.wait(injector.random.uniform(0, REST))
    group.going.set()


@frozen
class Fault:
    """
    One kind of fault.

    @ivar make: injects it, and reverts it.
    @ivar is_long: whether it takes seconds.
    """

    name: str
    make: Callable[[FaultInjector], None]
    is_long: bool = False


FAULTS = (
    Fault("reload", reload),
    Fault("reload by SIGHUP", reload_by_signal),
    Fault("bad file", bad_file),
    Fault("address taken", unbindable),
    Fault("certificate renewed", renewal),
    Fault("bad certificate", bad_certificate, True),
    Fault("log level", log_level),
    Fault("ban", ban),
    Fault("fault profile", profile),
    Fault("keys rotated", rotation, True),
    Fault("stopped for a moment", stop_and_continue),
    Fault("clients rest", rest),
)


def make_faults(injector: FaultInjector, pause: float, with_long: bool, all_once: bool) -> None:
    """
    Make all faults in a drawn order, again and again.

    @param pause: between two, at most (seconds).
    @param all_once: whether each is made once, even if there is no time for it.
    """
    order = [fault for fault in FAULTS if with_long or not fault.is_long]
    while all_once or not injector.over.is_set():
        for fault in injector.random.sample(order, len(order)):
            if injector.over.is_set() and not all_once:
                return
            _make(injector, fault)
            injector.wait(injector.random.uniform(0, pause))
        all_once = False


def _make(injector: FaultInjector, fault: Fault) -> None:
    try:
        fault.make(injector)
        injector.done[fault.name] += 1
    except Exception as problem:
        injector.clients.note(f"{fault.name}: {type(problem).__name__}: {problem}")
