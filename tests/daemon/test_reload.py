"""Tests for L{socketd.daemon.reload}: all or nothing, as often as one likes, in any order."""

from __future__ import annotations

import gc
import os
import random
import socket
from ipaddress import ip_network
from itertools import cycle
from typing import Any

import attrs
from twisted.logger import globalLogPublisher

from socketd.configuration import Configuration
from socketd.net.sockets.rlimit import RESERVED
from socketd.settings.diagnostics import Diagnostic, SettingsError
from tests.daemon.reload_state import AFTER, BEFORE, snapshot
from tests.support.daemons import ECHO, DaemonCase, descriptors

#: Reloads of one daemon with a few live connections, and how many before what is in
#: use is noted.
RELOADS = 300

WARM_UP = 50

#: What may be left of them (objects): the collector's own and the interpreter's
#: caches; one that stays of each reload is more.
SLACK = 200

#: Steps of one random walk through configurations, and the walks.
STEPS = 60

SEEDS = (1, 2, 3)


class RefusedReloadTests(DaemonCase):
    """Tests for reloads that are refused: nothing at all may change."""

    def begin(self, **more: Any) -> None:
        """Start with connections, a ban, and a former service."""
        former = "[former]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.4\n"
        self.start(BEFORE + former, **more)
        self.assertEqual(self.ask(self.enter("former")), b"hello")
        self.reloaded(BEFORE)
        self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
        self.turn()
        self.socks = [self.enter("one"), self.enter("two", "unix"), self.enter("gone")]
        self.daemon.bans.add(ip_network("192.0.2.0/24"))
        self.datagram = self.address("one", "udp")

    def check(self, text: str, *expected: str) -> None:
        """
        See that a file is refused with these complaints, or with all of one kind, that
        nothing has changed, and that all peers are served.
        """
        before = snapshot(self.daemon)
        diagnostics = self.refused(text)
        if len(expected) > 1:
            self.assertEqual(len(diagnostics), len(expected), diagnostics)
        for complaint, part in zip(diagnostics, cycle(expected)):
            self.assertIn(part, complaint)
        after = snapshot(self.daemon)
        for name, found in before.items():
            self.assertEqual(after[name], found, name)
        answers = [self.ask(sock) for sock in self.socks]
        self.assertEqual(answers, [b"hello", b"HELLO", b"hello"])
        self.assertEqual(self.ask(self.enter("one")), b"hello")
        self.assertEqual(self.ask_datagram(self.datagram), b"hello")
        self.assertEqual(self.daemon.reloads["refused"], 1)
        self.assertEqual(len(self.events("reload_refused")), len(diagnostics))

    def test_listener(self) -> None:
        """The first, the middle or the last of three listeners cannot be bound."""
        for place in range(3):
            self.begin()
            listeners = ["tcp:0:interface=127.0.0.5", "unix:{runtime}/new.sock"]
            listeners.insert(place, self.taken())
            bad = f"[bad]\nprotocol = echo\nlisten = {', '.join(listeners)}\n"
            self.check(AFTER + bad, "[bad] cannot listen at tcp 127.0.0.9:")
            self.assertEqual(os.listdir(self.runtime), ["two.sock"])
            self.end(self.daemon)

    def test_first_service(self) -> None:
        """
        A listener of the first service cannot be bound: what comes behind it has taken
        its sockets over already.
        """
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(bad + AFTER, "[bad] cannot listen at tcp 127.0.0.9:")

    def test_changed_service(self) -> None:
        """A service that keeps its sockets gets one that cannot be bound."""
        self.begin()
        text = AFTER.replace("mode=666:backlog=5", f"mode=666:backlog=5, {self.taken()}")
        self.check(text, "[two] cannot listen at tcp 127.0.0.9:")

    def test_all_complaints(self) -> None:
        """Everything that cannot be bound has its line."""
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = {self.taken()}, unix:/nowhere/a.sock\n"
        worse = f"[worse]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(bad + AFTER + worse, "[bad]", "[bad]", "[worse]")

    def test_returning_service(self) -> None:
        """A removed service that cannot come back keeps its counts for the next try."""
        self.begin()
        service_state = self.daemon.removed["former"]
        text = f"[former]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(BEFORE + text, "[former]")
        for _ in range(3):
            self.refused(BEFORE + text)
        self.reloaded(BEFORE + "[former]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.4\n")
        self.assertIs(self.service("former").service_state, service_state)
        self.assertEqual(service_state.counters.connections, 1)

    def test_certificate(self) -> None:
        """A certificate cannot be used, though everything can be bound."""
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tls:0:interface=127.0.0.5\n"
        bad += "tls_certificate = /nowhere.pem\n"
        self.check(AFTER + bad, "[bad] tls_certificate: /nowhere.pem cannot be read")

    def test_socket_option(self) -> None:
        """The system refuses an option of a socket that is kept."""
        self.begin()
        text = AFTER.replace("[one]", "[one]\nso_bindtodevice = nosuch0")
        self.check(text, "so_bindtodevice: this system refuses it: No such device")

    def test_socket_option_of_new(self) -> None:
        """It refuses one of a new socket."""
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.5\n"
        bad += "so_bindtodevice = nosuch0\n"
        self.check(bad + AFTER, "so_bindtodevice: this system refuses it: No such device")

    def test_descriptors(self) -> None:
        """The file promises more connections than there are descriptors."""
        self.begin(file_limit=RESERVED + 100)
        text = AFTER.replace("max_connections = 40", "max_connections = 98")
        self.check(text, "[socketd] max_connections = 98: needs more descriptors")

    def test_invalid_file(self) -> None:
        """The file itself is wrong, in two places."""
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tcp:70000\nlisen = tcp:7\n"
        self.check(AFTER + bad, "70000", "lisen")

    def test_trial(self) -> None:
        """What the machine refuses is found before anything is bound."""

        def refuse() -> Configuration:
            raise SettingsError([Diagnostic("FILE", 3, "refused", "one", "so_linger", "0s")])

        self.begin()
        self.daemon.configure = refuse
        self.check(AFTER, "FILE:3: [one] so_linger = 0s: refused")

    def test_unexpected(self) -> None:
        """
        An unexpected error is raised, and peers are served on; the next
        reload is carried out.
        """

        def fail() -> Configuration:
            raise ZeroDivisionError

        self.begin()
        self.daemon.configure = fail
        before = snapshot(self.daemon)
        self.assertRaises(ZeroDivisionError, self.daemon.reload)
        self.assertEqual(snapshot(self.daemon), before)
        self.daemon.configure = self.configure
        self.assertNotEqual(self.reloaded(AFTER), ())

    def test_again_and_again(self) -> None:
        """However often a file with a new service is refused, nothing stays of it."""
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.5, {self.taken()}\n"
        self.refused(AFTER + bad)
        before = snapshot(self.daemon)
        for _ in range(20):
            self.refused(AFTER + bad)
        after = snapshot(self.daemon)
        for name, found in before.items():
            self.assertEqual(after[name], found, name)

    def test_states(self) -> None:
        """Callbacks are told why it was refused."""
        self.begin()
        told: list[tuple[str, str]] = []
        self.daemon.on_state(lambda state, detail: told.append((state, detail)))
        (complaint,) = self.refused("[socketd]\n")
        self.assertEqual(told, [("reloading", ""), ("serving", complaint)])

    def test_not_while_ending(self) -> None:
        """A daemon that starts, drains or stops has no file read."""
        daemon = self.make()
        self.assertEqual(self.refused(ECHO), ("cannot reload while starting",))
        daemon.privilegedStartService()
        daemon.startService()
        daemon.drain()
        self.assertEqual(self.refused(ECHO), ("cannot reload while draining",))
        self.assertEqual(daemon.state, "draining")
        daemon.stopService()
        self.assertEqual(self.refused(ECHO), ("cannot reload while stopping",))
        self.assertEqual(daemon.state, "stopping")
        self.assertEqual(daemon.reloads, {"done": 0, "refused": 0})

    def test_nothing_to_read(self) -> None:
        """A daemon without a file cannot reload."""
        self.start(configure=None)
        self.assertEqual(len(self.refused(ECHO)), 1)


class RepeatTests(DaemonCase):
    """Tests for many reloads of one daemon."""

    def files(self) -> list[str]:
        """
        Make files that take turns: rules, protocols and listeners change, a service
        comes and goes, and some are refused.
        """
        two = "[two]\nprotocol = {}\nlisten = unix:{{runtime}}/two.sock:mode={}, udp:0{}\n"
        here, there = ":interface=127.0.0.1", ":interface=127.0.0.3"
        lasting = ECHO + "first_byte_timeout = 0s\n"
        return [
            lasting + "idle_timeout = 1h\n" + two.format("upper", "600", here),
            lasting + "max_per_source = 50\n" + two.format("echo", "666", there),
            lasting + "max_connections = 90\nlog_connections = no\n",
            lasting + f"[two]\nprotocol = echo\nlisten = tcp:0{there}, {self.taken()}\n",
            "[echo]\n",
        ]

    def test_nothing_stays(self) -> None:
        """
        After hundreds of reloads there are as many descriptors, objects, timers and
        readers as before, and connections are served.
        """
        # A process of trial --jobs keeps what is logged until its test is over.
        self.patch(globalLogPublisher, "_observers", [])
        files = self.files()
        self.start(files[0])
        self.daemon.event_bus._watchers.clear()
        socks = [self.enter() for _ in range(5)]
        found = []
        for number in range(WARM_UP + RELOADS + len(files)):
            self.reload(files[number % len(files)])
            if number % 100 == 0:
                self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
            self.reactor.turn(1)
            if number >= WARM_UP and number % len(files) == 0:
                if number in (WARM_UP, WARM_UP + RELOADS):
                    found.append(self.measure())
        before, after = found
        self.assertEqual(after[1:], before[1:])
        self.assertTrue(after[0] - before[0] < SLACK, f"{after[0] - before[0]} objects stay")
        self.assertEqual([self.ask(sock) for sock in socks], [b"hello"] * 5)
        self.assertEqual(self.daemon.reloads["refused"] * 3, self.daemon.reloads["done"] * 2)

    def measure(self) -> tuple[int, int, int, int]:
        """Count what there is, once nothing is scheduled that will soon be over."""
        self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
        self.turn()
        gc.collect()
        timers, readers = self.reactor.getDelayedCalls(), self.reactor.getReaders()
        return len(gc.get_objects()), len(descriptors()), len(timers), len(readers)


@attrs.frozen
class Step:
    """
    One file of a random walk.

    @ivar text: the file.
    @ivar good: whether it can be carried out.
    @ivar places: what is served where, if it is: the protocol by kind and address.
    """

    text: str
    good: bool
    places: dict[tuple[str, str], str]


class RandomTests(DaemonCase):
    """What is bound is what the last good file says, whatever came before."""

    KINDS = ("tcp", "udp", "unix", "unixgram")

    def place(self, random: random.Random) -> tuple[str, str]:
        """Choose a listener: a kind, and an address or a path."""
        kind = random.choice(self.KINDS)
        number = random.randrange(1, 6)
        if kind.startswith("unix"):
            return kind, f"{self.runtime}/{kind}{number}"
        return kind, f"127.0.0.{number}"

    def step(self, random: random.Random) -> Step:
        """Make a file: up to four services, each place once, and perhaps an error."""
        places = list({self.place(random) for _ in range(random.randrange(1, 9))})
        random.shuffle(places)
        names = random.sample(["a", "b", "c", "d", "e"], random.randrange(1, 5))
        sections: dict[str, list[str]] = {}
        protocols = {name: random.choice(("echo", "upper")) for name in names}
        served = {}
        for place in sorted(places):
            name = random.choice(names)
            served[place] = protocols[name]
            kind, where = place
            text = f"unix{kind[4:]}:{where}" if where[0] != "1" else f"{kind}:0:interface={where}"
            sections.setdefault(name, []).append(text)
        good = random.random() < 0.7
        if not good:
            bad = random.choice((self.blocked, "unix:/nowhere/a.sock", "tcp:70000", "tcp"))
            found = random.choice(list(sections.values()))
            found.insert(random.randrange(len(found) + 1), bad)
        order = random.sample(sorted(sections), len(sections))
        lines = [
            f"[{name}]\nprotocol = {protocols[name]}\nlisten = {', '.join(sections[name])}\n"
            f"idle_timeout = {random.randrange(60, 63)}s\n"
            for name in order
        ]
        return Step("".join(lines), good, served)

    def bound(self) -> dict[tuple[str, str], Any]:
        """List what is bound: the address by kind and place."""
        found = {}
        for service in self.daemon.services:
            for one in service.bound:
                name = one.sock.getsockname()
                where = name if isinstance(name, str) else name[0]
                found[one.listener.kind, where] = name
        return found

    def probe(self, kind: str, address: Any) -> bytes:
        if kind in ("tcp", "unix"):
            sock = self.connect(address)
            answer = self.ask(sock)
            sock.close()
            return answer
        family = socket.AF_UNIX if kind == "unixgram" else socket.AF_INET
        sock = self.peer(family, socket.SOCK_DGRAM)
        if kind == "unixgram":
            sock.bind("")
        sock.setblocking(False)
        sock.sendto(b"hello", address)
        self.turn(2)
        answer = sock.recv(100)
        sock.close()
        return answer

    def closed(self, kind: str, address: Any) -> bool:
        """Say whether an address is free."""
        if kind.startswith("unix"):
            return not os.path.exists(address)
        if kind == "tcp":
            self.assertRaises(ConnectionRefusedError, self.connect, address)
            return True
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.connect(address)
        sock.setblocking(False)
        sock.send(b"x")
        self.assertRaises(ConnectionRefusedError, sock.recv, 1)
        sock.close()
        return True

    def walk(self, seed: int) -> None:
        """Go through random files, and compare after each."""
        chance = random.Random(seed)
        self.blocked = self.taken()
        first = self.step(chance)
        while not first.good:
            first = self.step(chance)
        self.start(first.text)
        last = first
        for number in range(STEPS):
            before = self.bound()
            step = self.step(chance)
            outcome = self.reload(step.text)
            self.turn(1)
            where = f"seed {seed}, step {number}: {step.text} {outcome}"
            self.assertEqual(not outcome.diagnostics, step.good, where)
            last = step if step.good else last
            after = self.bound()
            self.assertEqual(after.keys(), last.places.keys(), where)
            for (kind, place), protocol in last.places.items():
                expected = b"HELLO" if protocol == "upper" else b"hello"
                self.assertEqual(self.probe(kind, after[kind, place]), expected, where)
            for (kind, place), name in before.items():
                # The kernel may have chosen the port again.
                if (kind, place) not in after:
                    self.assertTrue(self.closed(kind, name), where)
                else:
                    self.assertEqual(after[kind, place], name, where)
        self.until(lambda: not self.daemon.connection_table)
        self.end(self.daemon)

    def test_walks(self) -> None:
        """Each walk, from its own seed."""
        for seed in SEEDS:
            self.walk(seed)
