"""
A loop of two daemons, begun by a forged datagram, ends.

The attack is CVE-1999-0103 and CVE-2024-2169: a service that answers every datagram
answers an answer, too, and needs only be started.
"""

from __future__ import annotations

import socket
from collections import Counter
from itertools import product

from tests.protocols.measure import stamp_wire
from tests.support.forging import Forger, PacketCapture
from tests.support.namespaces import Namespace
from tests.support.processes import Daemon, SystemCase

#: The two machines, and the services that answer any datagram since 1983.
HOSTS = ("10.77.0.1", "10.77.0.2")
PORTS = {"echo": 7, "daytime": 13, "chargen": 19, "time": 37}

#: High ports, which no rule for ports knows to be dangerous.
HIGH = (17007, 17008)

#: As long as a loop has time to turn (seconds): tens of thousands of times.
TURNING = 5.0

#: Longer than any answer of these services that is short.
QUESTION = b"?" * 64

SERVICE = "[{name}]\nprotocol = {protocol}\nlisten = udp:{port}\n{more}\n"

#: Rates that a service may well have; and how many datagrams of a loop both sides answer
#: at most when they have them: the burst, what the time brings, and what leaks. Each one
#: that leaks has the probability 1/4, and all of them in a row.
RAISED = "udp_rate = 100/s\nudp_burst = 50"
LEAKED = 10


def bound(rate: float, burst: int) -> float:
    """Say how many datagrams a loop has at most, the forged one included."""
    return 1 + 2 * (burst + rate * TURNING + LEAKED)


class LoopTests(SystemCase):
    """Two daemons on two machines of their own, with a link between."""

    def setUp(self) -> None:
        super().setUp()
        first = Namespace()
        self.addCleanup(first.close)
        second = Namespace(first)
        self.addCleanup(second.close)
        self.machines = (first, second)
        self.veth = first.connect(second, *(f"{host}/24" for host in HOSTS))
        self.capture = PacketCapture(first, self.veth)
        self.addCleanup(self.capture.close)
        self.forger = Forger(second)
        self.addCleanup(self.forger.close)

    def start(self, number: int, ini: str) -> Daemon:
        """Start the daemon of one machine."""
        file = self.write(f"{number}.ini", ini)
        return self.twistd(f"--config={file}", before=self.machines[number].command)

    def forge(self, first: int, second: int, *, datagram: bytes = QUESTION) -> None:
        """Have a service of the second machine ask one of the first, as it seems."""
        source, target = ((socket.inet_aton(host)) for host in reversed(HOSTS))
        self.forger.send((source, second), (target, first), datagram)

    def count(self, seconds: float) -> Counter[tuple[int, int]]:
        """
        Count the datagrams between two ports, in either direction.

        @return: by the port of the first machine and that of the second one.
        """
        found: Counter[tuple[int, int]] = Counter()
        first = socket.inet_aton(HOSTS[0])
        for seen in self.capture.captured(seconds):
            ends = (seen.source, seen.target)
            one, other = ends if seen.source[0] == first else reversed(ends)
            found[one[1], other[1]] += 1
        self.assertEqual(self.capture.lost(), 0)
        return found

    def check_served(self, ports: dict[str, int]) -> None:
        """Check that each service of the first machine answers a well-behaved client."""
        with self.machines[1].socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for name, port in ports.items():
                client.sendto(QUESTION, (HOSTS[0], port))
                answer, source = client.recvfrom(1000)
                self.assertEqual((source, bool(answer)), ((HOSTS[0], port), True), name)

    def check_ended(self) -> None:
        """Check that nothing passes between the machines any more."""
        self.assertEqual(self.count(1.0), {})

    def test_known_services(self) -> None:
        """
        Of all pairs of echo, daytime, chargen and time at their own ports none exchanges
        more than two datagrams, the forged one included, within five seconds.
        """
        ini = "".join(
            SERVICE.format(name=name, protocol=name, port=port, more="")
            for name, port in PORTS.items()
        )
        with self.start(0, ini) as one, self.start(1, ini) as other:
            for daemon in (one, other):
                daemon.address("time", "udp")
            pairs = list(product(PORTS.values(), repeat=2))
            for pair in pairs:
                self.forge(*pair)
            found = self.count(TURNING)
            self.assertEqual(set(found), set(pairs))
            self.assertEqual({pair: n for pair, n in found.items() if n > 2}, {})
            self.check_served(PORTS)

    def test_high_ports(self) -> None:
        """
        Two echo services at ports that are not known for it, with rates that were raised,
        answer each other as far as the rates go, and then no more: the next forged
        datagram begins as short a loop.
        """
        inis = [
            SERVICE.format(name="loud", protocol="echo", port=port, more=RAISED)
            for port in HIGH
        ]
        with self.start(0, inis[0]) as one, self.start(1, inis[1]) as other:
            for daemon in (one, other):
                daemon.address("loud", "udp")
            for _ in range(2):
                self.forge(*HIGH)
                found = self.count(TURNING)
                self.assertEqual(set(found), {HIGH})
                self.assertGreater(found[HIGH], 2)
                self.assertLessEqual(found[HIGH], bound(100.0, 50))
            self.check_ended()

    def test_stamp(self) -> None:
        """
        A reflector of STAMP at a high port has one answer for a packet that seems to come from
        another one, from echo or from ntp, with the rates of its own and others.
        """
        others = ("stamp", "echo", "ntp")
        first, second = HIGH
        ini = SERVICE.format(name="first", protocol="stamp", port=first, more="")
        more = "".join(
            SERVICE.format(name=name, protocol=name, port=second + n, more=RAISED)
            for n, name in enumerate(others)
        )
        with self.start(0, ini) as one, self.start(1, more) as other:
            one.address("first", "udp")
            other.address("ntp", "udp")
            packet = stamp_wire.request(bytes(20), sequence=0x1B000000)
            for n in range(len(others)):
                self.forge(first, second + n, datagram=packet)
            found = self.count(TURNING)
            # The forged one, its answer, and where that is answered, too, that answer.
            expected = {(first, second): 2, (first, second + 1): 3, (first, second + 2): 2}
            self.assertEqual(found, expected)

    def test_different_services(self) -> None:
        """
        With the default rates no pair of services at high ports exchanges more than 47
        datagrams in five seconds, whatever they answer each other.
        """
        names = ("echo", "upper", "chargen", "time")
        inis = [
            "".join(
                SERVICE.format(name=name, protocol=name, port=port + n * 10, more="")
                for n, name in enumerate(names)
            )
            for port in HIGH
        ]
        with self.start(0, inis[0]) as one, self.start(1, inis[1]) as other:
            for daemon in (one, other):
                daemon.address("time", "udp")
            pairs = [(HIGH[0] + n * 10, HIGH[1] + n * 10) for n in range(len(names))]
            for pair in pairs:
                self.forge(*pair)
            found = self.count(TURNING)
            self.assertEqual(set(found), set(pairs))
            self.assertEqual(bound(1.0, 8), 47)
            self.assertEqual({pair: n for pair, n in found.items() if n > 47}, {})
            self.check_ended()
