"""
Network emulation between two namespaces: loss, delay, jitter, duplication, corruption, rate.

A thread holds a TUN device of each namespace and passes IPv4 packets from one to the
other, so that no module of the kernel is needed but that one (tuntap of linux-doc).
What happens to a packet is random; the seed is printed, and may be given. A program
makes the device in its namespace and hands it over (C{device.py}).
"""

from __future__ import annotations

import math
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from ipaddress import ip_interface
from pathlib import Path
from random import Random
from threading import Condition, Thread

from attrs import frozen

from tests.support.namespaces import Namespace
from tests.support.needs import missing

#: The seed of all lots, to have the same ones again.
SEED = "SOCKETD_NETWORK_SEED"

#: Packets that one direction holds back at once, as a router would; more are dropped.
MAX_QUEUE = 4000

#: Packets that are taken from one side before the other has its turn.
MAX_TURN = 64

#: The name of both interfaces, and the device that they are made with.
INTERFACE = "air"
TUN = "/dev/net/tun"
DEVICE = Path(__file__).with_name("device.py")

#: Longer than it takes to make a device on a busy machine (seconds).
PATIENCE = 10.0

#: How long TCP waits at least before it sends once more. The kernel's 200 ms, doubled at
#: each loss, would make a test of much loss last for minutes, and change nothing else.
RTO_MIN = "20ms"

#: How long at most, where the kernel lets one say so (since Linux 6.15; milliseconds). And
#: every machine finds out in the same way how much the network carries.
TCP = {"tcp_congestion_control": "reno", "tcp_rto_max_ms": "1000"}

_MAX_PACKET = 65536
_VERSION_4 = 4
_PROTOCOL_AT = 9

# What may happen to a packet.
ENTERED, DELIVERED, LOST, DUPLICATED, CORRUPTED, CUT, OVERFLOWED, REFUSED = (
    "entered", "delivered", "lost", "duplicated", "corrupted", "cut", "overflowed", "refused",
)  # fmt: skip


@frozen
class Impairment:
    """
    What a network does to packets, in each direction alike; the terms are those of tc-netem(8).

    @ivar loss: how probable it is that a packet is lost.
    @ivar delay: how long each is on its way (seconds).
    @ivar jitter: how much longer at most; what varies by more than the distance of two
        packets changes their order.
    @ivar duplicate: how probable it is that one comes twice.
    @ivar corrupt: how probable it is that one bit of it is flipped.
    @ivar rate: how many bytes a second go through.
    @ivar cut: whether nothing goes through at all, what is on its way included.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: float = math.inf
    cut: bool = False


class Link:
    """
    One direction of a network; it knows neither clock nor device.

    @ivar counts: how many packets met with what, by the number of their protocol.
    @ivar impairment: what happens from now on.
    """

    def __init__(self, random: Random) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()
        self.impairment = Impairment()
        self._random = random
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._accepted = 0
        self._free_at = 0.0

    def send(self, packet: bytes, now: float) -> None:
        """Take a packet, and decide what happens to it."""
        impairment, chance = self.impairment, self._random.random
        protocol = packet[_PROTOCOL_AT]
        self.counts[protocol, ENTERED] += 1
        if impairment.cut or chance() < impairment.loss:
            self.counts[protocol, CUT if impairment.cut else LOST] += 1
            return
        self._accept(protocol, packet, now)
        if chance() < impairment.duplicate:
            self.counts[protocol, DUPLICATED] += 1
            self._accept(protocol, packet, now)

    def _accept(self, protocol: int, packet: bytes, now: float) -> None:
        impairment, random = self.impairment, self._random
        if len(self._waiting) >= MAX_QUEUE:
            self.counts[protocol, OVERFLOWED] += 1
            return
        if random.random() < impairment.corrupt:
            self.counts[protocol, CORRUPTED] += 1
            packet = flip_bit(packet, random.randrange(8 * len(packet)))
        self._free_at = max(now, self._free_at) + len(packet) / impairment.rate
        due = self._free_at + impairment.delay + impairment.jitter * random.random()
        self._accepted += 1
        heappush(self._waiting, (due, self._accepted, protocol, packet))

    def arrivals(self, now: float) -> Iterator[tuple[int, bytes]]:
        """Give what has arrived by now: the protocol as it was sent, and the packet."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, protocol, packet = heappop(self._waiting)
            if not self.impairment.cut:
                yield protocol, packet
            else:
                self.counts[protocol, CUT] += 1

    def next_at(self) -> float:
        """Say when the next one arrives; infinity if nothing is on its way."""
        return self._waiting[0][0] if self._waiting else math.inf


def flip_bit(packet: bytes, bit: int) -> bytes:
    """Change one bit of a packet; the checksums of RFC 791, 793 and 768 find that."""
    corrupted = bytearray(packet)
    corrupted[bit // 8] ^= 1 << bit % 8
    return bytes(corrupted)


class Network:
    """
    A network of two namespaces, until it is closed.

    @ivar links: from the first namespace to the second one, and back.
    """

    def __init__(
        self, first: Namespace, second: Namespace, ours: str, theirs: str, seed: str = ""
    ) -> None:
        """
        @param ours: the address of the first namespace, with its prefix length.
        @param theirs: that of the second one.
        @param seed: that of the lots; a new one if it is empty and none is in the environment.
        """
        self.seed = seed or os.environ.get(SEED) or secrets.token_hex(4)
        print(f"{SEED}={self.seed}")
        self.links = tuple(Link(Random(f"{self.seed} {way}")) for way in ("there", "back"))
        self._devices: list[int] = []
        self._turned = Condition()
        try:
            for namespace, address in ((first, ours), (second, theirs)):
                self._devices.append(_device(namespace))
                _set_up(namespace, address)
        except BaseException:
            self._close_devices()
            raise
        self._quit, self._quitting = socket.socketpair()
        self._thread = Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def change(self, impairment: Impairment) -> None:
        """Treat all packets so from now on."""
        for link in self.links:
            link.impairment = impairment

    def wait_for(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait until the counts are what they should be; fail when they are not in time."""
        with self._turned:
            if not self._turned.wait_for(condition, timeout):
                raise AssertionError(f"the network did: {[link.counts for link in self.links]}")

    def close(self) -> None:
        """Take the devices away."""
        self._quit.close()
        self._thread.join(PATIENCE)
        self._quitting.close()
        self._close_devices()

    def _close_devices(self) -> None:
        for device in self._devices:
            os.close(device)

    def _pass_on(self) -> None:
        waiting = select.poll()
        for descriptor in (*self._devices, self._quitting.fileno()):
            waiting.register(descriptor, select.POLLIN)
        ways = dict(zip(self._devices, self.links))
        while True:
            left = min(link.next_at() for link in self.links) - time.monotonic()
            ready = waiting.poll(None if left == math.inf else max(0, math.ceil(left * 1000)))
            for descriptor, _ in ready:
                if descriptor not in ways:
                    return
                _take(descriptor, ways[descriptor])
            for device, link in zip(reversed(self._devices), self.links):
                _give(device, link)
            with self._turned:
                self._turned.notify_all()


def _take(device: int, link: Link) -> None:
    for _ in range(MAX_TURN):
        try:
            packet = os.read(device, _MAX_PACKET)
        except BlockingIOError:
            return
        # IPv6 looks for its neighbours here; its packets would shift the lots.
        if packet[0] >> 4 == _VERSION_4:
            link.send(packet, time.monotonic())


def _give(device: int, link: Link) -> None:
    for protocol, packet in link.arrivals(time.monotonic()):
        try:
            os.write(device, packet)
        except OSError:
            # The interface is down.
            link.counts[protocol, REFUSED] += 1
        else:
            link.counts[protocol, DELIVERED] += 1


def _set_up(namespace: Namespace, address: str) -> None:
    """Give a device its address, and have TCP be quick to send again."""
    own = ip_interface(address)
    namespace.run("ip", "address", "add", address, "dev", INTERFACE)
    namespace.run("ip", "link", "set", INTERFACE, "up")
    route = ("ip", "route", "replace", str(own.network), "dev", INTERFACE, "src", str(own.ip))
    namespace.run(*route, "rto_min", RTO_MIN)
    for name, value in TCP.items():
        file = f"/proc/sys/net/ipv4/{name}"
        namespace.run("sh", "-c", f"! test -e {file} || echo {value} >{file}")


def _device(namespace: Namespace) -> int:
    """Make a device in a namespace; it goes when it is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        program = [*namespace.command, sys.executable, str(DEVICE), TUN, INTERFACE]
        done = subprocess.run(
            program, stdin=theirs.fileno(), capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode:
            raise missing("a TUN device", done.stderr.strip())
        return socket.recv_fds(ours, 1, 1)[1][0]
