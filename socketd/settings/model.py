"""The settings of a daemon: a parsed INI file as frozen classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from socketd.common.host_names import is_host_name
from socketd.settings.diagnostics import Diagnostic
from socketd.settings.faults.profile import PROFILE, FaultProfile
from socketd.settings.listeners import Listener, only_datagrams, only_streams
from socketd.settings.networks import NETWORKS, PREFIXES, Network, Prefixes
from socketd.settings.options import REQUIRED, option
from socketd.settings.tls import TlsOptions
from socketd.settings.value_types import (
    DURATION,
    NUMBER,
    RATE,
    SIZE,
    WORD,
    YES_NO,
    ValueType,
    choice,
    parse_list,
    parse_path,
    within,
)

#: The section of the daemon, and that of the values that all services inherit.
DAEMON = "socketd"
DEFAULTS = "defaults"


def _parse_linger(text: str) -> bool:
    """Parse C{no} or C{0s}; return whether close(2) resets the connection."""
    if text.lower() in ("no", "off", "false"):
        return False
    if re.fullmatch(r"0+(ms|s|m|h)", text, re.ASCII) is None:
        # With a longer time close(2) blocks, even on a non-blocking socket, and so blocks
        # the reactor.
        raise ValueError("would stop the whole daemon at each close; write no or 0s")
    return True


def _parse_names(text: str) -> tuple[str, ...]:
    """Parse host names, to lower case."""
    names = tuple(name.lower() for name in parse_list(text))
    for name in names:
        if not is_host_name(name, underscores=True):
            raise ValueError(f"has {name!r}, which is no host name; write such as srv.example.org")
    return names


_PATH = ValueType("path", parse_path)
_ADDRESS = ValueType("listener", parse_path)
_LISTENERS = ValueType("listeners (tcp:7007 udp:7007 unix:PATH)", parse_list)
_SECONDS = within(DURATION, 1.0, 32767.0, "write 1s to 9h")
_COUNT = within(NUMBER, 1, 127, "write 1 to 127")
_BUFFER = within(SIZE, 1, 1024**3, "write up to 1GiB")
_CAP = within(NUMBER, 1, 1_000_000, "write 1 to 1000000")

#: The most workers: more cores than one machine's network is served by.
MAX_WORKERS = 64

#: As many workers as there are cores.
AUTO = 0

#: How workers share sockets: so that one source always meets the same one.
BY_SOURCE = "source"

_WORKERS = within(NUMBER, 1, MAX_WORKERS, f"write 1 to {MAX_WORKERS}, or auto")
_MILLISECONDS = within(DURATION, 0.001, 86400.0, "write 1ms to 24h")


def _parse_workers(text: str) -> int:
    """Parse a number of workers; C{auto} is L{AUTO}."""
    return AUTO if text == "auto" else int(_WORKERS.parse(text))


@frozen
class DaemonOptions:
    """The section C{[socketd]}."""

    drain_timeout: float = option(
        DURATION, 10.0, "How long a stopping daemon waits for its connections to finish."
    )
    log_level: str = option(
        choice("debug", "info", "warn", "error"), "info", "The lowest level that is logged."
    )
    control: str = option(
        _PATH,
        "",
        "The UNIX socket for operators, {runtime}/control.sock for example; none by default.",
    )
    http: str = option(
        _ADDRESS,
        "",
        "The listener of the status page, /metrics and /healthz, tcp:9155:interface=127.0.0.1 for"
        " example.",
    )
    http_names: tuple[str, ...] = option(
        ValueType("list of host names", _parse_names),
        (),
        "The names by which browsers reach the status page, besides addresses and localhost.",
    )
    status_page: str = option(
        choice("local", "everywhere", "no"),
        "local",
        "Where http has the status page: only at loopback and UNIX sockets, or everywhere; there"
        " reading takes the token, too.",
    )
    log_format: str = option(
        choice("text", "json"), "text", "Lines for people, or one JSON object per line."
    )
    log_quiet: tuple[Network, ...] = option(
        NETWORKS, (), "Networks whose connections are not logged, such as those of health checks."
    )
    max_connections: int | None = option(
        _CAP,
        None,
        "Concurrent connections of all services, which workers share out; by default 10000, or"
        " what the descriptor limit allows.",
    )
    workers: int = option(
        ValueType(f"number up to {MAX_WORKERS} | auto", _parse_workers),
        1,
        "How many processes serve, so that more than one core is used; auto: one for each core"
        " that the daemon may use.",
    )
    balance: str = option(
        choice(BY_SOURCE, "flow"),
        BY_SOURCE,
        "How workers share the sockets of TCP and UDP: each source, as source_prefix says, is"
        " always served by the same one, or the kernel spreads by addresses and ports.",
    )


@frozen
class ServiceOptions:
    """The options of every service, independent of its protocol."""

    protocol: str = option(WORD, "", "The protocol of the service; the section's name by default.")
    listen: tuple[str, ...] = option(_LISTENERS, REQUIRED, "The listeners, one per line.")
    enabled: bool = option(YES_NO, True, "Whether the service is started.")
    log_connections: bool = option(
        YES_NO, True, "Whether the start and the end of each connection are logged."
    )
    log_messages: str = option(
        choice("no", "text", "hex"), "no", "Whether and how each message is logged."
    )
    fault: str = option(
        PROFILE, "", "The profile, a section [fault:NAME], by which it misbehaves on purpose."
    )


@frozen
class AccessOptions:
    """
    The access policy: networks, connection limits, rate limits and timeouts.

    A timeout of 0 is disabled; C{None} means the default that the help text describes.
    """

    allow: tuple[Network, ...] | None = option(
        NETWORKS,
        None,
        "The networks that are served; by default any for streams, and for datagrams loopback,"
        " private and the addresses of this machine.",
    )
    deny: tuple[Network, ...] = option(
        NETWORKS,
        (),
        "The networks that are not served; the longer match of allow and deny wins, then deny.",
    )
    max_connections: int | None = option(
        _CAP, None, "Concurrent connections; at the limit further ones wait to be accepted."
    )
    max_per_source: int | None = option(
        _CAP,
        None,
        "Concurrent connections of one source; 20 by default, and then loopback has no limit.",
    )
    accept_rate: float | None = option(
        RATE,
        None,
        "The rate limit of connections from one source, those above are reset; 10/s by default,"
        " and then loopback has no limit.",
    )
    accept_burst: int = option(
        _CAP, 20, "The burst of connections from one source that accept_rate allows."
    )
    source_prefix: Prefixes = option(
        PREFIXES,
        Prefixes(),
        "The prefix lengths of IPv4 and IPv6 that define one source; each link-local address is"
        " a source of its own.",
    )
    first_byte_timeout: float = option(
        DURATION,
        60.0,
        "The time until the first byte, after which a connection is closed; a PROXY header and a"
        " TLS handshake do not count.",
    )
    idle_timeout: float = option(
        DURATION,
        300.0,
        "The time without a byte in either direction, after which a connection is closed; waiting"
        " for the operator does not count.",
    )
    stall_timeout: float = option(
        DURATION,
        30.0,
        "The time in which a peer takes none of the pending output, after which it is reset.",
    )
    lifetime: float = option(
        DURATION, 3600.0, "The time after which a connection is closed in any case."
    )
    udp_rate: float | None = option(
        RATE,
        None,
        "The rate limit of datagrams from one source; 1/s by default, 4/s for ntp, 100/s for"
        " stamp. It ends a loop between two services.",
    )
    udp_burst: int | None = option(
        _CAP,
        None,
        "The burst of datagrams from one source that udp_rate allows; 8 by default, 256 for ntp,"
        " 200 for stamp.",
    )
    udp_network_rate: float | None = option(
        RATE,
        None,
        "The rate limit of datagrams from one network, an IPv4 /24 or an IPv6 /64; by default 64"
        " times udp_rate, with a burst of 64 times udp_burst.",
    )
    udp_service_rate: float = option(
        RATE, 5000.0, "The rate limit of datagrams from all sources, per listener."
    )
    proxy_from: tuple[Network, ...] = option(
        NETWORKS,
        (),
        "The proxies whose PROXY headers a haproxy: listener trusts; other peers are reset.",
    )
    guard_loopback: bool = option(
        YES_NO, False, "Whether the port and rate rules apply to datagrams from loopback, too."
    )


@frozen
class SocketOptions:
    """
    Socket options, set before the socket is bound; C{None} keeps the system default.

    A connection inherits those of its listening socket (socket(7), tcp(7)).
    """

    so_reuseaddr: bool | None = option(
        YES_NO, None, "Bind while old connections linger; on by default for TCP."
    )
    so_reuseport: bool | None = option(YES_NO, None, "Share the port with other processes.")
    so_keepalive: bool | None = option(YES_NO, None, "Probe idle connections.")
    so_broadcast: bool | None = option(YES_NO, None, "Allow datagrams to broadcast addresses.")
    so_dontroute: bool | None = option(YES_NO, None, "Send to the local network only.")
    so_oobinline: bool | None = option(YES_NO, None, "Receive urgent data in line.")
    so_bindtodevice: str | None = option(WORD, None, "Serve this network interface only.")
    so_rcvbuf: int | None = option(_BUFFER, None, "The size of the receive buffer.")
    so_sndbuf: int | None = option(_BUFFER, None, "The size of the send buffer.")
    so_linger: bool | None = option(
        ValueType("no | 0s", _parse_linger), None, "0s resets a connection when it is closed."
    )
    tcp_nodelay: bool | None = option(YES_NO, None, "Send small segments at once; on by default.")
    tcp_keepidle: float | None = option(_SECONDS, None, "Idle time before the first probe.")
    tcp_keepintvl: float | None = option(_SECONDS, None, "Time between two probes.")
    tcp_keepcnt: int | None = option(
        _COUNT, None, "Unanswered probes before a reset; ignored with tcp_user_timeout."
    )
    tcp_user_timeout: float | None = option(
        _MILLISECONDS,
        None,
        "How long sent bytes may stay unacknowledged; by default 30s, unless tcp_keepcnt is"
        " given.",
    )


#: The most ports that a service has open at a time beside its listeners; their descriptors are set
#: aside.
MAX_FURTHER = 128


@frozen
class NoOptions:
    """The options of a protocol without options of its own."""


@frozen
class ProtocolSpec:
    """
    The specification of one protocol.

    @ivar options: an attrs class made of L{socketd.settings.options.option}.
    @ivar stream: makes the protocol (C{IProtocol}) of one connection, of the options and a
        L{socketd.protocols.spec.ProtocolContext}; C{None} if streams are not supported.
    @ivar datagram: makes the C{DatagramProtocol} of one port, likewise.
    @ivar reply_floor: maps the options to the reply size (bytes) that is allowed however short the
        datagram is; a longer reply must not exceed its request. By default their C{udp_amplify}.
    @ivar shortest_reply: maps the options to the size (bytes) of the shortest reply to an empty
        datagram.
    @ivar source_ports: reserved source ports that are served nevertheless; such a protocol must
        not answer replies, or two services could loop.
    @ivar udp_rate: the default rate limit per source (datagrams per second).
    @ivar udp_burst: the default burst per source (datagrams).
    @ivar timestamped: whether its C{DatagramProtocol} reads C{transport.received_at}.
    @ivar ip_header: whether it reads C{transport.ip_header}, too: the TTL and the TOS of the
        current datagram; C{transport.mark(TOS)} has the next answer leave with TTL 255 and that
        TOS.
    @ivar further_ports: maps the options to the UDP ports that C{context.open_port} may open.
    @ivar refusals: maps the options and the listeners to what is wrong with them together: pairs
        of an option's name and the error; an empty name stands for the section.
    @ivar hints: maps the options, the listeners, and the listeners of the services that refer to
        it, to what is valid and may not be meant: pairs of an option that is given, and a message.
    @ivar references: its options that name another service, and the protocol of that.
    @ivar fixed: common options that it gives their only value, as written in a file.
    @ivar defaults: common options that have another default for it, as written in a file.
    """

    options: type[Any] = NoOptions
    stream: Any = None
    datagram: Any = None
    reply_floor: Callable[[Any], int] = lambda options: getattr(options, "udp_amplify", 0)
    shortest_reply: Callable[[Any], int] = lambda options: 0
    source_ports: Container[int] = frozenset()
    udp_rate: float = 1.0
    udp_burst: int = 8
    timestamped: bool = False
    ip_header: bool = False
    further_ports: Callable[[Any], range] = lambda options: range(0)
    refusals: Callable[[Any, Sequence[Listener]], Iterable[tuple[str, ValueError]]] = (
        lambda options, listeners: ()
    )
    hints: Callable[[Any, Sequence[Listener], Sequence[Listener]], Iterable[tuple[str, str]]] = (
        lambda options, listeners, users: ()
    )
    references: Mapping[str, str] = attrs.field(factory=dict)
    fixed: Mapping[str, str] = attrs.field(factory=dict)
    defaults: Mapping[str, str] = attrs.field(factory=dict)


@frozen
class ServiceSettings:
    """
    One enabled service.

    @ivar name: the section's name.
    @ivar protocol: the protocol's name.
    @ivar declared: the protocol's specification.
    @ivar options: the protocol's own options, an instance of C{declared.options}.
    @ivar references: the options of the services that its own options name, by option.
    @ivar lines: the line of each option, for later diagnostics.
    @ivar inherited: the options that are set in C{[defaults]} only.
    @ivar files: the paths of the files that its options name.
    @ivar written: the paths of those that the daemon writes.
    """

    name: str
    protocol: str
    declared: ProtocolSpec
    listeners: tuple[Listener, ...]
    common: ServiceOptions
    policy: AccessOptions
    sockets: SocketOptions
    tls: TlsOptions
    options: Any
    references: Mapping[str, Any] = attrs.field(factory=dict)
    lines: Mapping[str, int] = attrs.field(eq=False, factory=dict)
    inherited: frozenset[str] = attrs.field(eq=False, factory=frozenset)
    files: tuple[str, ...] = attrs.field(eq=False, default=())
    written: tuple[str, ...] = attrs.field(eq=False, default=())
    file: str = attrs.field(eq=False, default="")

    @property
    def forms(self) -> tuple[bool, bool]:
        """Whether it may have streams, and datagrams; a socket of systemd can be either."""
        return not only_datagrams(self.listeners), not only_streams(self.listeners)

    def place(self, option: str) -> str:
        """Format the position of one of its options as C{FILE:LINE}; C{FILE} without a line."""
        line = self.lines[option]
        return f"{self.file}:{line}" if line else self.file

    def complaint(self, option: str, message: str, value: str | None = None) -> Diagnostic:
        """Make a diagnostic about one of its options, at the option's line."""
        section = DEFAULTS if option in self.inherited else self.name
        return Diagnostic(self.file, self.lines[option], message, section, option, value)


@frozen
class Settings:
    """
    A whole configuration.

    @ivar lines: the line of each option of C{[socketd]}.
    @ivar files: the paths of the files named by options of the daemon and its services.
    @ivar faults: the fault profiles by name.
    """

    file: str
    daemon: DaemonOptions
    services: tuple[ServiceSettings, ...]
    lines: Mapping[str, int] = attrs.field(eq=False, factory=dict)
    http: Listener | None = None
    control: Listener | None = None
    files: tuple[str, ...] = attrs.field(eq=False, default=())
    faults: Mapping[str, FaultProfile] = attrs.field(factory=dict)

    def place(self, option: str) -> str:
        """Format the position of a C{[socketd]} option as C{FILE:LINE}, or C{FILE} if not set."""
        return f"{self.file}:{self.lines[option]}" if option in self.lines else self.file

    def complaint(self, option: str, message: str, value: object) -> Diagnostic:
        """Make a diagnostic about an option of C{[socketd]}, at the option's line."""
        return Diagnostic(self.file, self.lines[option], message, DAEMON, option, str(value))

    @property
    def own(self) -> dict[str, Listener]:
        """The listeners of the daemon itself, by option name."""
        found = {"http": self.http, "control": self.control}
        return {option: listener for option, listener in found.items() if listener is not None}
