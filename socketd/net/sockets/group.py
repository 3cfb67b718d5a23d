"""
The sockets of a listener that several workers serve, one socket each.

They are bound to one address with SO_REUSEPORT, and a program of classic BPF steers what comes to
them by its source (socket(7), SO_ATTACH_REUSEPORT_CBPF): so the same worker always meets a source,
and its limits stay exact. The index that the program returns is a socket's place in the order of
bind(2), or of listen(2) for streams.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from errno import ENOENT, ENOPROTOOPT

from attrs import evolve, frozen

from socketd.net.sockets.bind import bind_socket
from socketd.settings.diagnostics import Diagnostic
from socketd.settings.listeners import Listener
from socketd.settings.model import (
    AUTO,
    BY_SOURCE,
    MAX_WORKERS,
    ServiceSettings,
    Settings,
    SocketOptions,
)
from socketd.settings.networks import Prefixes

# asm-generic/socket.h; Python's module has no names for these.
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68

#: struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand.
_INSTRUCTION = struct.Struct("=HBBI")

#: The network header, wherever the program's data begins (SKF_NET_OFF of linux/filter.h).
_NETWORK = -0x100000 & 0xFFFFFFFF

#: By family: where the source address begins in the network header, and its words of 32 bits.
_SOURCES = {socket.AF_INET: (12, 1), socket.AF_INET6: (8, 4)}

#: 2 ** 32 divided by the golden ratio: its multiples are spread evenly, those of neighbours too.
_FACTOR = 0x9E3779B1

# Instructions of linux/bpf_common.h; A and X are the registers.
_LOAD, _SET, _AND, _XOR_X, _MULTIPLY, _SHIFT, _MODULO = 0x20, 0x00, 0x54, 0xAC, 0x24, 0x74, 0x94
_A_TO_X, _IF_EQUAL, _RETURN_A = 0x07, 0x15, 0x16

#: One instruction, as L{_INSTRUCTION} packs it.
Instruction = tuple[int, int, int, int]


@frozen
class Spread:
    """
    How many sockets a listener has, and how they share what comes.

    @ivar prefixes: the prefix lengths of a source; C{None}: the kernel's hash shares.
    """

    count: int = 1
    prefixes: Prefixes | None = None

    def options(self, options: SocketOptions) -> SocketOptions:
        """Add the option that several sockets at one address need."""
        return options if self.count == 1 else evolve(options, so_reuseport=True)


#: A listener with one socket.
SINGLE = Spread()


@frozen
class Sharing:
    """
    How the listeners of a daemon are shared by its workers.

    @ivar by_source: whether a source is always served by the same one; else, the kernel's hash of
        addresses and ports decides.
    @ivar unsteered: why it decides nevertheless.
    """

    workers: int = 1
    by_source: bool = True
    unsteered: str = ""

    @classmethod
    def asked(cls, settings: Settings, cores: int = 0) -> Sharing:
        """
        Return what a configuration asks for: no more workers than connections.

        @param cores: the number that C{auto} stands for.
        """
        options = settings.daemon
        workers = min(cores, MAX_WORKERS) if options.workers == AUTO else options.workers
        return cls(min(workers, options.max_connections or workers), options.balance == BY_SOURCE)

    def tried(self) -> Sharing:
        """Return the same, if this system can do it."""
        return evolve(self, unsteered=why_not_steered()) if self.by_source else self

    def spread(self, service: ServiceSettings, listener: Listener) -> Spread:
        """
        Say how a listener is shared. UNIX and inherited sockets are one socket for all workers.
        Behind a balancer the source comes later.
        """
        if self.workers == 1 or listener.is_inherited or listener.family not in _SOURCES:
            return SINGLE
        count = self.count(service)
        if count == 1:
            return SINGLE
        steered = self.is_steered and not listener.proxied
        return Spread(count, service.policy.source_prefix if steered else None)

    @property
    def is_steered(self) -> bool:
        """Whether a source is always served by the same worker."""
        return self.by_source and not self.unsteered

    def count(self, service: ServiceSettings) -> int:
        """
        Count the workers that serve a service, the first ones: no more than it may have
        connections, and one if its protocol opens ports for sources.
        """
        if service.declared.further_ports(service.options):
            return 1
        return min(self.workers, service.policy.max_connections or self.workers)

    def refusals(self, services: Iterable[ServiceSettings]) -> Iterator[Diagnostic]:
        """Report the services that share their ports with other processes, too."""
        for service in services:
            if self.workers != 1 and self.by_source and service.sockets.so_reuseport:
                message = "lets other processes take part, of which workers know nothing; leave it"
                message += " out, or write balance = flow in [socketd]"
                yield service.complaint("so_reuseport", message)


def bind_group(
    listener: Listener, options: SocketOptions, beside: Sequence[socket.socket], spread: Spread
) -> list[socket.socket]:
    """
    Bind the sockets of a listener, and let them listen.

    The first one takes the address for itself, so that no other daemon can have it, too.

    @param beside: as for L{bind_socket}; if there are any, streams do not listen yet.
    @raise OSError: if a step fails.
    @raise Refused: if the system refuses an option.
    """
    socks = [bind_socket(listener, options, beside)]
    try:
        if spread.count > 1:
            socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            place = _at(socks[0], listener)
        while len(socks) < spread.count:
            socks.append(bind_socket(place, spread.options(options), beside))
        if not (beside and listener.is_stream):
            begin(socks, listener, spread)
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return socks


def _at(sock: socket.socket, listener: Listener) -> Listener:
    """Write the listener of a bound socket with the address that it got."""
    host, port, *rest = sock.getsockname()
    scope = f"%{rest[1]}" if rest and rest[1] else ""
    return evolve(listener, interface=f"{host}{scope}", port=port)


def begin(
    socks: Sequence[socket.socket], listener: Listener, spread: Spread, is_beside: bool = False
) -> None:
    """
    Steer what comes, and let streams listen, in the order of the workers.

    The kernel lets none with a program join others that listen (inet_csk_bind_conflict), unless
    all have SO_REUSEADDR: then the program comes last.

    @param is_beside: whether others listen at conflicting addresses.
    @raise OSError: if the system cannot.
    """
    is_beside |= not socks[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    if spread.count > 1 and not is_beside:
        steer(socks, spread.prefixes)
    if listener.is_stream:
        for sock in socks:
            sock.listen(listener.backlog)
    if spread.count > 1 and is_beside:
        steer(socks, spread.prefixes)


def steer(socks: Sequence[socket.socket], prefixes: Prefixes | None) -> None:
    """
    Have the kernel steer what comes to some sockets of one address by its source, or by its own
    hash again. Streams must not listen yet, or have all done so; datagram sockets are bound.

    @raise OSError: if the system cannot.
    """
    first = socks[0]
    if prefixes is None:
        try:
            first.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
        except OSError as problem:
            # None is attached, or the system knows of none.
            if problem.errno not in (ENOENT, ENOPROTOOPT):
                raise
        return
    bits = prefixes.ipv4 if first.family == socket.AF_INET else prefixes.ipv6
    _attach(first, program(first.family, bits, len(socks)))


def program(family: int, bits: int, count: int) -> list[Instruction]:
    """
    Write the program that maps a source, the first bits of an address, to a socket's index.

    A link-local address is a source of its own, as for the access policy.
    """
    end = [(_SHIFT, 0, 0, 16), (_MODULO, 0, 0, count), (_RETURN_A, 0, 0, 0)]
    start, size = _SOURCES[socket.AddressFamily(family)]
    cut = [*_hash(start, bits), *end]
    if family == socket.AF_INET:
        return cut
    whole = [*_hash(start, 32 * size), *end]
    link = [(_LOAD, 0, 0, _NETWORK + start), (_AND, 0, 0, 0xFFC00000)]
    return [*link, (_IF_EQUAL, 0, len(whole), 0xFE800000), *whole, *cut]


def _hash(start: int, bits: int) -> Iterable[Instruction]:
    """Fold the first bits of an address into A."""
    yield _SET, 0, 0, 0
    for at in range(0, bits, 32):
        mask = 0xFFFFFFFF << max(0, 32 - (bits - at)) & 0xFFFFFFFF
        yield _A_TO_X, 0, 0, 0
        yield _LOAD, 0, 0, _NETWORK + start + at // 8
        yield _AND, 0, 0, mask
        yield _XOR_X, 0, 0, 0
        yield _MULTIPLY, 0, 0, _FACTOR


def _attach(sock: socket.socket, instructions: Sequence[Instruction]) -> None:
    code = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog.
    packed = struct.pack("HP", len(instructions), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, packed)


def why_not_steered() -> str:
    """
    Try whether this system steers datagrams of loopback as a program says.

    @return: why it does not; empty if it does.
    """
    try:
        with _trial() as first, _trial(first) as second, _trial() as sender:
            _attach(first, [(_SET, 0, 0, 1), (_RETURN_A, 0, 0, 0)])
            sender.sendto(b"?", first.getsockname())
            second.recv(1)
    except OSError as problem:
        return problem.strerror or os.strerror(problem.errno or 0)
    return ""


def _trial(beside: socket.socket | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0) if beside is None else beside.getsockname())
    except OSError:
        sock.close()
        raise
    return sock
