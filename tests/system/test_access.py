"""The access policy of the real daemon under floods."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from socketd.common.errors import BAD_CONFIGURATION
from socketd.net.faults.datagrams import MAX_HELD_BYTES
from socketd.net.sockets.rlimit import RESERVED
from socketd.protocols.clock.nts_keys import KeyRing
from tests.protocols.clock.nts_client import TO_CLIENT, TO_SERVER, Client
from tests.support.certificates import issued, write_private
from tests.support.forging import Forger, PacketCapture, queues
from tests.support.namespaces import Namespace
from tests.support.networks import NetworkCase
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import descriptor_limit, exchange, is_silent, read_exactly, read_to_end

MIB = 1024 * 1024

Sender = tuple[bytes, int]

#: How many datagrams the sweep sends: three from each port, each to another service. With
#: 1000000 in the environment, which takes a minute, each port asks every service.
SWEPT = int(os.environ.get("SOCKETD_FORGED_DATAGRAMS", "200000"))
ALL_PORTS = 65536

#: Datagrams that are sent before their queues are looked at, and bytes that may wait in
#: one: far less than any receive buffer holds.
BURST = 128
MAX_QUEUE = 65536

#: The longest forged datagram; all answers of these services fit.
LONGEST = 600

#: What the tables of a service may grow by when they are full already (bytes): nothing,
#: but for what the allocator holds back.
MAX_GROWTH = 2 * MIB

#: What one table of sources may take, with the datagrams' own buffers (bytes).
MAX_TABLES = 12 * MIB

#: Every protocol that answers datagrams, at its port, and which answers are longer.
SWEEP_PORTS = {
    "echo": 7, "discard": 9, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37, "ntp": 123,
    "upper": 1007, "reply": 1008, "nts": 1123,
}  # fmt: skip
SWEEP_MORE = {
    "qotd": "texts = {directory}/quotes",
    "reply": "reply = I am a server",
    "ntp": "assume_synchronised = yes",
    "nts": "protocol = ntp\nassume_synchronised = yes\nnts = nts-ke",
}

#: The service whose cookies are taken, with keys that the test knows.
NTS_KE = """
[nts-ke]
listen = tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
keys = {directory}/nts.keys
"""
FLOORS = Counter({SWEEP_PORTS["time"]: 4})

#: A profile in which everything happens to datagrams, each answer twice if it may be.
SWEEP_FAULTS = """
fault = bad
[fault:bad]
latency = 5ms jitter 5ms normal
bandwidth = 1MiB/s
loss = 5% burst 20%
duplicate = 100%
reorder = 20% gap 2
corrupt = 10%
truncate = 10%
"""

#: The default of C{udp_service_rate} (a second), and how much may come at once.
SERVICE_RATE = SERVICE_BURST = 5000.0

#: Two ends of a veth pair; what is behind the second one can be anywhere.
HERE, THERE = "192.168.77.1", "192.168.77.2"

#: How many sources are forged (a second), and for how long (seconds).
FLOOD_RATE = 10_000
FLOOD_TIME = 3.0
FLOOD_PATIENCE = 12.0

#: How often the well-behaved client asks again (seconds), and how probable it is then that its
#: datagram is the next one.
RETRY = 0.3
ASKING = 0.03

#: Slow clients, and what every other one sends.
CAP = 1000
SAID = (b"", b"1")

SLOW = f"""
[socketd]
max_connections = {CAP}
[echo]
listen = tcp:0:interface=127.0.0.1
log_connections = no
first_byte_timeout = 2s
idle_timeout = 2s
"""

RATED = """
[echo]
listen = tcp:0:interface=127.0.0.1
accept_rate = 1/s
accept_burst = 20
log_connections = no
"""

#: How often it is tried, far more than a hundred times a second.
ATTEMPTS = 2000

#: How much slower another client may be served beside the flood, at most.
MAX_SLOWDOWN = 20.0

FULL = """
[socketd]
max_connections = 6
[small]
protocol = echo
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
max_connections = 4
[other]
protocol = upper
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
"""

#: A limit of descriptors with room for so many connections beside one listener.
FEW_DESCRIPTORS = 160
FEW = FEW_DESCRIPTORS - RESERVED - 1


class SweepTests(NetworkCase):
    """Datagrams of every kind, from every port."""

    def setUp(self) -> None:
        super().setUp()
        self.random = random.Random(862)
        self.noise = self.random.randbytes(MIB)
        self.asked: Counter[int] = Counter()
        self.answers: Counter[int] = Counter()
        self.sent: Counter[tuple[Sender, int]] = Counter()
        self.twice = 0
        self.ring = KeyRing.make(time.time())
        self.nts_requests: dict[int, bytes] = {}
        self.too_long: list[tuple[int, int, int]] = []

    def ini(self, defaults: str) -> str:
        """Write a configuration in which loopback has no exemption."""
        made = issued("localhost")
        made.write(str(self.directory / "server.pem"))
        write_private(str(self.directory / "nts.keys"), self.ring.encode())
        self.write("quotes", "Brevity is the soul of wit.\n%\nNo.\n%\nKnow thyself.\n")
        parts = [f"[defaults]\nguard_loopback = yes\n{defaults}\n"]
        for name, port in SWEEP_PORTS.items():
            more = SWEEP_MORE.get(name, "").format(directory=self.directory)
            parts.append(f"[{name}]\nlisten = udp:{port}:interface=127.0.0.1\n{more}\n")
        return "".join([*parts, NTS_KE.format(directory=self.directory)])

    def length(self, sender: Sender) -> int:
        """Say how long the datagrams of a sender are; so an answer tells what was asked."""
        return (int.from_bytes(sender[0][1:], "big") * 31 + sender[1]) % (LONGEST + 1)

    def nts_request(self, length: int) -> bytes:
        """Write a request of NTS, with as many placeholders as fit; every other one is good."""
        if length not in self.nts_requests:
            cookie = self.ring.seal(TO_SERVER, TO_CLIENT) if length & 4 else bytes(100)
            client, room = Client(cookie), length - len(Client(cookie).request())
            found = client.request(placeholders=room // 104) if room >= 0 else b""
            self.nts_requests[length] = found and found + bytes(length - len(found))
        return self.nts_requests[length]

    def sender(self, number: int) -> Sender:
        """Make up a sender: each port comes as often as any other, from 0 on."""
        # 127.0.x.x are the addresses that something listens at.
        address = self.random.randrange(1 << 16, 1 << 24)
        return bytes([127, *address.to_bytes(3, "big")]), number % ALL_PORTS

    def send(self, count: int) -> None:
        """Send so many datagrams, as fast as they are read."""
        ports = list(SWEEP_PORTS.values())
        target = socket.inet_aton("127.0.0.1")
        for number in range(self.forge.count, self.forge.count + count):
            sender = self.sender(number)
            # Each round of ports begins with another service.
            port = ports[(number + number // ALL_PORTS) % len(ports)]
            start = self.random.randrange(MIB - LONGEST)
            data = self.noise[start : start + self.length(sender)]
            if port == SWEEP_PORTS["ntp"] and number & 1:
                data = b"\x23" + data[1:48].ljust(47) if len(data) >= 48 else data
            elif port == SWEEP_PORTS["nts"] and number & 1:
                data = self.nts_request(len(data)) or data
            self.asked[port] += 1
            self.forge.send(sender, (target, port), data)
            if number % BURST == 0:
                self.wait_for_queues(MAX_QUEUE)
                self.check_seen()
        self.wait_for_queues(0)
        self.check_seen()

    def check_seen(self) -> None:
        """Compare the answers that have come with what they answer."""
        for seen in self.capture.captured():
            port = seen.source[1]
            asked = self.length(seen.target)
            self.answers[port] += 1
            # A sender asks once, so all answers that it has are to that.
            self.twice += (seen.target, port) in self.sent
            self.sent[seen.target, port] += len(seen.data)
            if self.sent[seen.target, port] > max(asked, FLOORS[port]):
                self.too_long.append((port, asked, self.sent[seen.target, port]))

    def test_every_port(self) -> None:
        """
        From whichever port and with whatever bytes a service is asked, its answer is not
        longer than the question (the time has four bytes), there are no more answers than
        the rate of the service, nothing fails, and memory stays as it is.
        """
        self.sweep("", 1)
        self.assertEqual(self.twice, 0)

    def test_faults(self) -> None:
        """
        All of that holds with a fault profile, for both answers of a duplicate together;
        what the profile holds has a bound of its own.
        """
        self.sweep(SWEEP_FAULTS, 2, MAX_GROWTH + MAX_HELD_BYTES)
        self.assertGreater(self.twice, 0)

    def sweep(self, defaults: str, most: int, growth: int = MAX_GROWTH) -> None:
        """
        Ask from each port, and check what comes.

        @param most: how many answers one question may have.
        @param growth: how much more memory the daemon may take for it (bytes).
        """
        self.forge = self.forger(self.namespace)
        self.capture = PacketCapture(self.namespace, "lo", "127.0.0.1")
        self.addCleanup(self.capture.close)
        with self.daemon_inside(self.ini(defaults)) as daemon:
            daemon.address("reply", "udp")
            began = time.monotonic()
            self.send(max(SWEPT, 2 * ALL_PORTS) // 2)
            before = daemon.private_bytes()
            self.send(max(SWEPT, 2 * ALL_PORTS) // 2)
            seconds = time.monotonic() - began
            grown = daemon.private_bytes() - before
            self.check_answers(seconds, most)
            self.assertLess(grown, growth)

    def check_answers(self, seconds: float, each: int) -> None:
        """Check what was seen, and that all was seen and read."""
        self.assertEqual(self.too_long, [])
        self.assertEqual(self.capture.lost(), 0)
        self.assertEqual([lost for _, lost in queues(self.namespace) if lost], [])
        self.assertEqual(set(self.asked), set(SWEEP_PORTS.values()))
        silent_ones = {SWEEP_PORTS["discard"]}
        self.assertEqual(set(self.asked) - set(self.answers), silent_ones)
        most = self.answers.most_common(1)[0][1]
        self.assertLessEqual(most, each * (SERVICE_BURST + SERVICE_RATE * seconds))


class ForgedSourceTests(NetworkCase):
    """Sources that do not exist."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = Namespace(self.namespace)
        self.addCleanup(self.outside.close)
        self.namespace.connect(self.outside, f"{HERE}/30", f"{THERE}/30")
        self.namespace.run("ip", "route", "add", "default", "via", THERE)

    def test_many_sources(self) -> None:
        """
        Ten thousand new sources a second for three seconds take no more memory than the
        tables have, and a well-behaved client is answered meanwhile, at one of a few tries.
        """
        ini = "[echo]\nlisten = udp:7007\nallow = any\n"
        with self.daemon_inside(ini) as daemon:
            daemon.address("echo", "udp")
            forger = self.forger(self.outside)
            with self.outside.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect((HERE, 7007))
                client.send(b"before")
                self.assertEqual(client.recv(99), b"before")
                before = daemon.private_bytes()
                answered = self.flood(forger, client)
                self.assertGreater(answered, 0)
                self.assertGreaterEqual(forger.count, 0.9 * FLOOD_RATE * FLOOD_TIME)
                self.assertLess(daemon.private_bytes() - before, MAX_TABLES)

    def flood(self, forger: Forger, client: socket.socket) -> int:
        """
        Forge for L{FLOOD_TIME}, and until the client was answered.

        @return: how often it was answered.
        """
        began = asked = time.monotonic()
        answered, lots = 0, random.Random(7007)
        target = socket.inet_aton(HERE), 7007
        while (spent := time.monotonic() - began) < FLOOD_TIME or not answered:
            self.assertLess(spent, FLOOD_PATIENCE, "the client is not answered")
            while forger.count < spent * FLOOD_RATE:
                number = 0x0B000000 + forger.count * 977
                forger.send((number.to_bytes(4, "big"), 40000), target, b"%d" % number)
                # At any place among the others: the last ones of a burst find the rate
                # of the service used up.
                if time.monotonic() - asked > RETRY and lots.random() < ASKING:
                    asked = time.monotonic()
                    client.send(b"%f" % asked)
            if not is_silent(client, 0.005):
                answered += bool(client.recv(99))
        return answered


class SlowlorisTests(SystemCase):
    """Connections without a first byte, and idle ones."""

    def test_slowloris(self) -> None:
        """
        Clients that fill the daemon and send nothing, or nothing more, are closed at
        first_byte_timeout and idle_timeout; then another is served.
        """
        with descriptor_limit(2 * CAP + 500), self.daemon(SLOW) as daemon, ExitStack() as stack:
            slow = []
            for number in range(CAP):
                client = stack.enter_context(daemon.connect("echo"))
                client.sendall(SAID[number % 2])
                slow.append(client)
            with daemon.connect("echo") as late:
                self.check_echo(late, b"let me in")
            # However slow the machine is: at least one has made room.
            self.assertFalse(all(is_silent(client, 0) for client in slow[::2]))
            ended = [read_to_end(client) for client in slow]
            self.assertEqual(ended, [*SAID] * (CAP // 2))


class RateLimitTests(SystemCase):
    """One source far above its accept_rate."""

    def test_rate(self) -> None:
        """
        A source that connects a hundred times as often as it may is reset without a byte, and
        another one does not wait for its answers much longer than before.
        """
        with self.daemon(RATED) as daemon:
            target = daemon.address("echo")
            with socket.create_connection(target, DEADLINE, ("127.0.0.3", 0)) as other:
                before, _ = self.round_trips(other, lambda: None)
                began = time.monotonic()
                during, served = self.round_trips(other, lambda: self.connect_and_ask(target))
                seconds = time.monotonic() - began
            self.assertGreater(ATTEMPTS / seconds, 100, "it was not tried often enough")
            self.assertLessEqual(served, 20 + seconds + 1)
            self.assertGreaterEqual(served, 20)
            self.assertLess(during / before, MAX_SLOWDOWN)
            with socket.create_connection(target, DEADLINE, ("127.0.0.3", 0)) as another:
                self.assertEqual(exchange(another, b"still here"), b"still here")

    def round_trips(
        self, sock: socket.socket, between: Callable[[], bool | None]
    ) -> tuple[float, int]:
        """
        Ask again and again.

        @param between: what happens each time while the answer is awaited.
        @return: the median time until the answer (seconds), and how often C{between} was
            true.
        """
        taken, happened = [], 0
        for _ in range(ATTEMPTS):
            began = time.perf_counter()
            sock.sendall(b"?")
            happened += bool(between())
            read_exactly(sock, 1)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken), happened

    def connect_and_ask(self, target: Any) -> bool:
        """
        Connect and ask.

        @return: whether there was an answer; else there was a reset.
        """
        try:
            with socket.create_connection(target, DEADLINE, ("127.0.0.2", 0)) as client:
                return exchange(client, b"x") == b"x"
        except (ConnectionResetError, BrokenPipeError):
            return False


class FullTests(SystemCase):
    """A daemon at its limits."""

    def test_others(self) -> None:
        """
        A service at its limit lets the next one wait, and still answers datagrams; other
        services accept until the daemon is full; waiting clients are served when others leave.
        """
        with self.daemon(FULL) as daemon, ExitStack() as stack:
            inside = [stack.enter_context(daemon.connect("small")) for _ in range(4)]
            self.assertEqual([exchange(client, b"in") for client in inside], [b"in"] * 4)
            waiting = stack.enter_context(daemon.connect("small"))
            waiting.sendall(b"me too")
            self.assertTrue(is_silent(waiting, 0.3))
            others = [stack.enter_context(daemon.connect("other")) for _ in range(2)]
            self.assertEqual([exchange(client, b"in") for client in others], [b"IN"] * 2)
            last = stack.enter_context(daemon.connect("other"))
            last.sendall(b"me too")
            self.assertTrue(is_silent(last, 0.3))
            for service, answer in (("small", b"any room?"), ("other", b"ANY ROOM?")):
                with daemon.connect(service, "udp") as client:
                    client.send(b"any room?")
                    self.assertEqual(client.recv(99), answer)
            for client in inside[:2]:
                client.close()
            self.assertEqual(read_exactly(waiting, 6), b"me too")
            self.assertEqual(read_exactly(last, 6), b"ME TOO")

    def limited(self, limit: int, ini: str) -> Daemon:
        """Start a daemon that may have so many descriptors."""
        return self.daemon(ini, before=("sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh"))

    def test_few_descriptors(self) -> None:
        """
        A daemon that may have few descriptors takes only as many connections as it has
        room for, without an error; datagrams are answered all the time, and waiting clients
        are served when others have left.
        """
        ini = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
        with self.limited(FEW_DESCRIPTORS + 1, ini + "log_connections = no\n") as daemon:
            with ExitStack() as stack:
                clients = [stack.enter_context(daemon.connect("echo")) for _ in range(3 * FEW)]
                for client in clients:
                    client.sendall(b"?")
                served = [client for client in clients if not is_silent(client, 0.05)]
                self.assertEqual(len(served), FEW)
                with daemon.connect("echo", "udp") as asking:
                    asking.send(b"any room?")
                    self.assertEqual(asking.recv(99), b"any room?")
                for client in served:
                    client.close()
                rest = [client for client in clients if client not in served]
                self.assertEqual(self.serve_in_turn(rest), len(rest))
            self.assertNotIn("cannot accept", daemon.output.text)

    def serve_in_turn(self, clients: list[socket.socket]) -> int:
        """Count the clients that are served, each of which makes room for another one."""
        count = 0
        for client in clients:
            with contextlib.suppress(TimeoutError):
                count += read_exactly(client, 1) == b"?"
            client.close()
        return count

    def test_too_many(self) -> None:
        """
        A limit of connections that no process may have is refused at its line, with the
        status for a bad configuration, before anything is bound.
        """
        ini = f"[echo]\nlisten = tcp:0:interface=127.0.0.1\nmax_connections = {FEW + 1}\n"
        daemon = self.limited(FEW_DESCRIPTORS, ini)
        expected = (
            f"{self.directory}/socketd.ini:3: [echo] max_connections = {FEW + 1}: needs more"
            f" descriptors than the {FEW_DESCRIPTORS} that a process may have here; write up to"
            f" {FEW}, or raise LimitNOFILE= or ulimit -n\n"
        )
        self.assertEqual((daemon.wait(), daemon.errors.text), (BAD_CONFIGURATION, expected))
