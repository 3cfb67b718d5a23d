"""Exchanges with the real daemon across an impaired network, and checks of its counts."""

from __future__ import annotations

import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event, Semaphore

from tests.chaos import figures
from tests.chaos.clocks import SINCE_1900, ntp_request
from tests.chaos.netem import (
    CORRUPTED,
    CUT,
    DELIVERED,
    DUPLICATED,
    ENTERED,
    LOST,
    OVERFLOWED,
    REFUSED,
    Impairment,
    Link,
    Network,
)
from tests.support.namespaces import Namespace
from tests.support.networks import NetworkCase
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import address_of, is_silent, read_exactly, read_to_end
from tests.support.tls import NAME, TlsCase, start_tls, trusting_context

#: The daemon, and its clients, which are all at one address.
HERE, THERE = "10.78.0.1", "10.78.0.2"

UDP = socket.IPPROTO_UDP

#: The network's own, and what of it a datagram's headers take (bytes).
MTU = 1500
IP_AND_UDP = 28

KIB = 1024

#: How often each service is asked with a datagram.
QUESTIONS = 300

#: How many long ones, which come in pieces, may wait for their answers.
MAX_WAITING = 8

#: How many short ones may wait in the daemon: all receive buffers hold more.
MAX_UNANSWERED = 64

#: A band in which a share lies but once in a million times (standard deviations).
SIGMAS = 5.0

#: With more loss, C{close_notify} may not come through within the five seconds of a close.
MUCH_LOSS = 0.1

#: How long a stream may be silent while packets are sent again and again (seconds).
PATIENCE = 30.0

#: How far the clock of an answer may be from ours: one machine has one clock (seconds).
CLOCK_SLACK = 2.0

INI = """
[socketd]
http = tcp:9155:interface=127.0.0.1
[defaults]
max_per_source = 10000
accept_rate = 100000/s
udp_rate = 100000/s
udp_burst = 100000
udp_service_rate = 100000/s
handshake_timeout = 60s
tls_certificate = {directory}/server.pem
[echo]
listen = tcp:7007, udp:7007
[secure]
protocol = echo
listen = tls:7008
[time]
listen = udp:7037
[ntp]
listen = udp:7123
assume_synchronised = yes
"""


class Questions:
    """
    Datagrams to one service, each unlike all others.

    @ivar answered: how often each was answered.
    """

    def __init__(self, port: int, random: Random, size: int = 64) -> None:
        self.port = port
        self.answered: Counter[int] = Counter()
        self._asked: dict[int, bytes] = {}
        self._random = random
        self._size = size

    def next(self) -> bytes:
        """Make one more."""
        number = len(self._asked)
        self._asked[number] = struct.pack("!I", number) + self._random.randbytes(self._size - 4)
        return self._asked[number]

    def take(self, answer: bytes) -> None:
        """Find the question of an answer; raise C{AssertionError} when the answer is wrong."""
        number = int.from_bytes(answer[:4])
        assert answer == self._asked.get(number), answer
        self.answered[number] += 1


class NtpQuestions(Questions):
    """The same for NTP (RFC 5905): the answer has the client's time as its origin."""

    def next(self) -> bytes:
        """Make one more."""
        return ntp_request(int.from_bytes(super().next()[:8]))

    def take(self, answer: bytes) -> None:
        assert (len(answer), answer[0] & 0o77) == (48, 0o44), answer
        number, sent = int.from_bytes(answer[24:28]), int.from_bytes(answer[40:44])
        assert answer[24:32] == self._asked[number][:8], answer
        assert abs(sent - SINCE_1900 - time.time()) < CLOCK_SLACK, answer
        self.answered[number] += 1


class TimeQuestions(Questions):
    """The same for the time of RFC 868, whose answer does not tell what was asked."""

    def take(self, answer: bytes) -> None:
        assert len(answer) == 4, answer
        assert abs(int.from_bytes(answer) - time.time()) < CLOCK_SLACK, answer
        self.answered[sum(self.answered.values())] += 1


class MetricsCase(NetworkCase):
    """A daemon in a network of its own that can be asked what it has counted."""

    def metrics(self) -> dict[str, float]:
        """Scrape the daemon, from beside it."""
        with self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.connect(("127.0.0.1", 9155))
            return scrape(sock)

    def sum(self, name: str) -> float:
        """Sum a figure over all services."""
        found = self.metrics().items()
        prefix = f"socketd_{name}_total{{"
        return sum(value for key, value in found if key.startswith(prefix))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Ask the daemon until it says what it should."""
        wait_until(condition, lambda: f"the daemon says: {self.metrics()}")


class ExchangeCase(MetricsCase, TlsCase):
    """A daemon in one namespace, its clients in another one, and an impaired network between."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = Namespace(self.namespace)
        self.addCleanup(self.outside.close)
        self.room = Semaphore(MAX_WAITING)
        self.network = Network(self.namespace, self.outside, f"{HERE}/24", f"{THERE}/24")
        self.addCleanup(self.network.close)

    def client(self, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        sock = self.outside.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        sock.connect((HERE, port))
        return sock

    def check_exchanges(
        self, impairment: Impairment, size: int = 64, length: int = 100 * KIB
    ) -> None:
        """
        Exchange streams, TLS and datagrams at the same time, and check all there is.

        @param size: how long a datagram is (bytes); all packets must be whole to be counted.
        @param length: what a stream carries in each direction (bytes).
        """
        with self.daemon_inside(INI.format(directory=self.directory)) as daemon:
            daemon.address("ntp", "udp")
            self.network.change(impairment)
            plain, private = self.client(7007), self.client(7008)
            with ThreadPoolExecutor() as pool:
                streams = [
                    pool.submit(self.stream, plain, length),
                    pool.submit(self.secured, private, length, impairment.loss > MUCH_LOSS),
                ]
                asked = self.ask(size)
                seconds = [stream.result() for stream in streams]
            self.check_shares(asked, impairment)
            self.check_streams(daemon, plain, length)
        figures.note(
            self,
            f"{length // KIB} KiB each way in {seconds[0]:.1f} s, with TLS in {seconds[1]:.1f} s;"
            f" {len(asked[0].answered) / QUESTIONS:.0%} of datagrams answered",
        )

    def stream(self, sock: socket.socket, length: int) -> float:
        """Send much while all of it comes back; return how long that took (seconds)."""
        began, data = time.monotonic(), Random(7).randbytes(length)
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(_send_all, sock, data)
            received = read_to_end(sock)
            sending.result()
        self.assertTrue(received == data, f"{len(received)} bytes, or other ones")
        return time.monotonic() - began

    def secured(self, sock: socket.socket, length: int, late: bool) -> float:
        """
        Do the same over TLS, which ends in both directions.

        @param late: whether C{close_notify} may not come through while the daemon waits for it.
        """
        began, data = time.monotonic(), Random(8).randbytes(length)
        client = start_tls(sock, trusting_context(), NAME)
        self.addCleanup(client.close)
        client.sendall(data)
        received = read_exactly(client, length)
        self.assertTrue(received == data, f"{len(received)} bytes, or other ones")
        try:
            client.unwrap().close()
        except ConnectionResetError:
            if not late:
                raise
        return time.monotonic() - began

    def ask(self, size: int) -> list[Questions]:
        """Ask echo, NTP and time in turn, and take all answers that come."""
        sock = self.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(("", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * KIB)
        random = Random(self.network.seed)
        asked = [Questions(7007, random, size), NtpQuestions(7123, random)]
        asked.append(TimeQuestions(7037, random))
        all_sent, whole = Event(), size + IP_AND_UDP <= MTU
        with ThreadPoolExecutor() as pool:
            taking = pool.submit(self.take_answers, sock, asked, all_sent, whole)
            try:
                self.send(sock, asked, whole)
            finally:
                all_sent.set()
            taking.result()
        return asked

    def send(self, sock: socket.socket, asked: list[Questions], whole: bool) -> None:
        """Send all questions, no faster than the network and the daemon take them."""
        back, there = self.network.links
        for number in range(QUESTIONS * len(asked)):
            questions = asked[number % len(asked)]
            sock.sendto(questions.next(), (HERE, questions.port))
            if whole:
                self.network.wait_for(
                    lambda: there.counts[UDP, ENTERED] > number
                    and delivered_whole(there) - back.counts[UDP, ENTERED] < MAX_UNANSWERED
                )
            else:
                self.assertTrue(self.room.acquire(timeout=DEADLINE), "answers are missing")
        if whole:
            self.check_counts(there, back)

    def take_answers(
        self, sock: socket.socket, asked: list[Questions], all_sent: Event, whole: bool
    ) -> None:
        """Take answers until there are as many as came through."""
        by_port = {questions.port: questions for questions in asked}
        ends = math.inf
        while not all_sent.is_set() or total(asked) < self.expected(whole):
            if not is_silent(sock, 0.05):
                answer, (_, port) = sock.recvfrom(65536)
                by_port[port].take(answer)
                self.room.release()
            if all_sent.is_set():
                ends = min(ends, time.monotonic() + DEADLINE)
            if time.monotonic() > ends:
                raise AssertionError(f"answers are missing; {self.describe(asked)}")

    def describe(self, asked: list[Questions]) -> str:
        """Say what came of the questions, for the message of a failure."""
        found = {questions.port: len(questions.answered) for questions in asked}
        counted = {name: value for name, value in self.metrics().items() if "datagrams" in name}
        return f"answered: {found}; the daemon says: {counted}; {self.network.links}"

    def expected(self, whole: bool) -> int:
        """Say how many answers have come through; pieces of them cannot be counted so."""
        return delivered_whole(self.network.links[0]) if whole else 3 * QUESTIONS

    def check_counts(self, there: Link, back: Link) -> None:
        """Check that the daemon has counted what came through, and what it sent."""
        self.network.wait_for(lambda: there.counts[UDP, ENTERED] == 3 * QUESTIONS)
        self.network.wait_for(lambda: settled(there))
        self.wait_until(lambda: self.sum("datagrams_received") == delivered_whole(there))
        self.wait_until(lambda: self.sum("datagrams_sent") == delivered_whole(there))
        self.assertEqual(self.sum("datagrams_dropped"), 0)
        self.assertEqual(self.sum("datagrams_unsent"), 0)
        self.network.wait_for(lambda: back.counts[UDP, ENTERED] == delivered_whole(there))
        self.network.wait_for(lambda: settled(back))

    def check_shares(self, asked: list[Questions], impairment: Impairment) -> None:
        """Check that as many questions were answered as the network lets through twice."""
        share = ((1 - impairment.loss) * (1 - impairment.corrupt)) ** 2
        spread = SIGMAS * math.sqrt(QUESTIONS * share * (1 - share))
        for questions in asked[:2]:
            self.assertApproximates(len(questions.answered), share * QUESTIONS, spread)

    def check_streams(self, daemon: Daemon, plain: socket.socket, length: int) -> None:
        """Check that both streams ended well, and were counted."""
        words = rf"{address_of(plain)} \(echo \d+\) closed: {length} bytes in, {length} out"
        daemon.output.find(words)
        # What ends TLS may be lost until the grace of a close is over.
        daemon.output.find(rf"{THERE}:\d+ \(secure \d+\) (closed|reset here): ")
        expected = {"received_bytes": length, "sent_bytes": length, "connections": 1}
        for name, value in expected.items():
            key = f'socketd_{name}_total{{service="echo"}}'
            self.wait_until(lambda: self.metrics()[key] == value)


def scrape(sock: socket.socket) -> dict[str, float]:
    """Read the figures of socketd from its web service, by their names and labels."""
    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    lines = read_to_end(sock).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("socketd_"))
    return {name: float(value) for name, _, value in pairs}


def total(asked: list[Questions]) -> int:
    """Count the answers, each as often as it came."""
    return sum(sum(questions.answered.values()) for questions in asked)


def settled(link: Link) -> bool:
    """Say whether each datagram that entered a link was delivered or dropped."""
    counts = link.counts
    done = sum(counts[UDP, fate] for fate in (DELIVERED, LOST, CUT, OVERFLOWED, REFUSED))
    return counts[UDP, ENTERED] + counts[UDP, DUPLICATED] == done


def delivered_whole(link: Link) -> int:
    """
    Count the datagrams that a link delivered unchanged. What an interface that is up refuses
    is no packet any more: its header was corrupted.
    """
    counts = link.counts
    return counts[UDP, DELIVERED] + counts[UDP, REFUSED] - counts[UDP, CORRUPTED]


def _send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
