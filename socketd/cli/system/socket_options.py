"""C{socketd options}: the socket options of this Python, and their defaults on this system."""

from __future__ import annotations

import argparse
import json
import socket
import struct
from collections.abc import Callable

from attrs import asdict, frozen

from socketd.cli.common.output import emit
from socketd.common import table
from socketd.common.errors import GOOD
from socketd.common.text import one_line

UNREADABLE = "-"

#: Buffer size of a value in bytes: more than the longest known, C{TCP_INFO}, and Python's limit.
MAX_VALUE = 1024

#: Level of an option, by the prefix of its name.
LEVELS = {
    "SO_": "SOL_SOCKET",
    "TCP_": "IPPROTO_TCP",
    "IP_": "IPPROTO_IP",
    "IPV6_": "IPPROTO_IPV6",
}

#: Name prefixes of options of other socket families, whose numbers have another meaning on an
#: Internet socket.
FOREIGN = ("SO_J1939_", "SO_VM_SOCKETS_")

#: Constants that look like options, and their meanings.
NOT_OPTIONS = {
    "IP_DEFAULT_MULTICAST_LOOP": "not an option: default of IP_MULTICAST_LOOP",
    "IP_DEFAULT_MULTICAST_TTL": "not an option: default of IP_MULTICAST_TTL",
    "IP_MAX_MEMBERSHIPS": "not an option: maximum number of groups per socket",
    "IPV6_RTHDR_TYPE_0": "not an option: a type of routing header",
}

#: Descriptions that are short enough for a table.
MEANINGS = {
    "SO_ACCEPTCONN": "1 while the socket listens (read only)",
    "SO_BINDTODEVICE": "use this network interface only",
    "SO_BROADCAST": "datagrams may go to broadcast addresses",
    "SO_DEBUG": "record debugging details in the kernel",
    "SO_DOMAIN": "address family of the socket (read only)",
    "SO_DONTROUTE": "send to directly connected networks only, through no gateway",
    "SO_ERROR": "pending error; reading clears it",
    "SO_INCOMING_CPU": "CPU that handles the socket's packets",
    "SO_KEEPALIVE": "probe an idle peer to detect a dead connection",
    "SO_LINGER": "time that close waits for unsent data; 0 s resets the connection",
    "SO_MARK": "mark on outgoing packets, for routing and filters",
    "SO_OOBINLINE": "receive urgent data in band",
    "SO_PASSCRED": "UNIX: receive the sender's credentials with each message",
    "SO_PASSSEC": "UNIX: receive the sender's security label with each message",
    "SO_PEERCRED": "UNIX: process, user and group of the peer (read only)",
    "SO_PEERSEC": "security label of the peer (read only)",
    "SO_PRIORITY": "queueing priority of outgoing packets",
    "SO_PROTOCOL": "protocol number of the socket (read only)",
    "SO_RCVBUF": "bytes of the receive buffer (Linux doubles what is set)",
    "SO_RCVLOWAT": "bytes required before a read returns",
    "SO_RCVTIMEO": "timeout of a blocking read",
    "SO_REUSEADDR": "bind in spite of old connections in TIME_WAIT",
    "SO_REUSEPORT": "several sockets share one address; the kernel spreads the load",
    "SO_SNDBUF": "bytes of the send buffer (Linux doubles what is set)",
    "SO_SNDLOWAT": "free bytes required before the socket is writable",
    "SO_SNDTIMEO": "timeout of a blocking write",
    "SO_TYPE": "1 stream, 2 datagrams (read only)",
    "TCP_CONGESTION": "name of the congestion control",
    "TCP_CORK": "send full segments only, until it is cleared",
    "TCP_DEFER_ACCEPT": "accept when the client has sent data; seconds to wait for it",
    "TCP_FASTOPEN": "pending connections that may have data in the SYN",
    "TCP_INFO": "state and statistics of the connection (read only)",
    "TCP_KEEPCNT": "unanswered probes before the connection is reset",
    "TCP_KEEPIDLE": "idle seconds before the first probe",
    "TCP_KEEPINTVL": "seconds between two probes",
    "TCP_LINGER2": "seconds in FIN_WAIT2 after close",
    "TCP_MAXSEG": "largest segment in bytes",
    "TCP_NODELAY": "send small segments at once (no Nagle algorithm)",
    "TCP_NOTSENT_LOWAT": "unsent bytes above which the socket is not writable",
    "TCP_QUICKACK": "acknowledge at once, without delay",
    "TCP_SYNCNT": "SYN retransmissions before connect fails",
    "TCP_USER_TIMEOUT": "milliseconds that sent data may stay unacknowledged; 0: system default",
    "TCP_WINDOW_CLAMP": "largest window to offer the peer",
    "IP_ADD_MEMBERSHIP": "join a multicast group (write only)",
    "IP_BIND_ADDRESS_NO_PORT": "choose the port at connect, not at bind",
    "IP_DROP_MEMBERSHIP": "leave a multicast group (write only)",
    "IP_HDRINCL": "raw sockets: the program writes the IP header",
    "IP_MULTICAST_IF": "outgoing interface of multicast",
    "IP_MULTICAST_LOOP": "receive own multicast on this host",
    "IP_MULTICAST_TTL": "hop limit of multicast",
    "IP_OPTIONS": "IP options on outgoing packets",
    "IP_RECVTOS": "receive the type of service with each datagram",
    "IP_TOS": "type of service of outgoing packets",
    "IP_TRANSPARENT": "bind to addresses of other hosts",
    "IP_TTL": "hop limit of outgoing packets",
    "IPV6_DONTFRAG": "drop packets that are too large, without fragmentation",
    "IPV6_JOIN_GROUP": "join a multicast group (write only)",
    "IPV6_LEAVE_GROUP": "leave a multicast group (write only)",
    "IPV6_MULTICAST_HOPS": "hop limit of multicast",
    "IPV6_MULTICAST_IF": "index of the outgoing interface of multicast",
    "IPV6_MULTICAST_LOOP": "receive own multicast on this host",
    "IPV6_RECVHOPLIMIT": "receive the hop limit with each datagram",
    "IPV6_RECVPKTINFO": "receive the destination address and interface with each datagram",
    "IPV6_RECVTCLASS": "receive the traffic class with each datagram",
    "IPV6_TCLASS": "traffic class of outgoing packets",
    "IPV6_UNICAST_HOPS": "hop limit of outgoing packets; -1: system default",
    "IPV6_V6ONLY": "accept IPv6 only, no IPv4-mapped addresses",
}

Value = int | str | None


@frozen
class SystemOption:
    """
    One row of the table: a level only for options of Internet sockets, and the defaults of new
    sockets, C{None} where they cannot be read.
    """

    name: str
    level: str | None
    number: int
    tcp: Value
    udp: Value
    meaning: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print the options."""
    options = [read_option(name) for name in option_names()]
    emit(render_json(options) if arguments.json else render_table(options))
    return GOOD


def render_json(options: list[SystemOption]) -> str:
    """Format options as a JSON array of objects."""
    return json.dumps([asdict(option) for option in options], indent=1) + "\n"


def render_table(options: list[SystemOption]) -> str:
    """Format options as a table."""
    headers = ("NAME", "NUMBER", "TCP", "UDP", "MEANING")
    rows = [
        (option.name, str(option.number), _cell(option.tcp), _cell(option.udp), option.meaning)
        for option in options
    ]
    return table.render(headers, rows)


def _cell(value: Value) -> str:
    return UNREADABLE if value is None else str(value) or '""'


def option_names() -> list[str]:
    """List what looks like an option in Python's C{socket}, level by level, each sorted."""
    return [
        name
        for prefix in LEVELS
        for name in sorted(dir(socket))
        if name.startswith(prefix) and isinstance(getattr(socket, name), int)
    ]


def read_option(name: str) -> SystemOption:
    """Look up an option by the name of the constant."""
    level, number = level_of(name), getattr(socket, name)
    tcp, udp = (
        read_default(name, level, number, socket_type)
        for socket_type in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    )
    return SystemOption(name, level, int(number), tcp, udp, meaning_of(name))


def level_of(name: str) -> str | None:
    """Return the name of the level; C{None} if it is not an option of Internet sockets."""
    if name in NOT_OPTIONS or name.startswith(FOREIGN):
        return None
    return LEVELS[name.partition("_")[0] + "_"]


def meaning_of(name: str) -> str:
    """Return the description of an option, or an empty text."""
    if name.startswith(FOREIGN):
        return "an option of another socket family"
    return NOT_OPTIONS.get(name) or MEANINGS.get(name, "")


def read_default(name: str, level: str | None, number: int, socket_type: int) -> Value:
    """Read an option of a new socket; C{None} if it cannot be read."""
    if level is None:
        return None
    family = socket.AF_INET6 if level == "IPPROTO_IPV6" else socket.AF_INET
    try:
        with socket.socket(family, socket_type) as fresh:
            raw = fresh.getsockopt(getattr(socket, level), number, MAX_VALUE)
    except OSError:
        return None
    return decode(name, raw)


def decode(name: str, raw: bytes) -> Value:
    """Decode a value from getsockopt(2) to a number, or a text for a structure or its size."""
    try:
        return DECODERS.get(name, _number)(raw)
    except (struct.error, OSError):
        return f"{len(raw)} bytes"


def _number(raw: bytes) -> Value:
    if len(raw) == 1:
        return raw[0]
    number: int = struct.unpack("i", raw)[0]
    return number


def _text(raw: bytes) -> Value:
    return one_line(raw.rstrip(b"\0").decode("utf-8", "backslashreplace"))


def _linger(raw: bytes) -> Value:
    is_on, seconds = struct.unpack("ii", raw)
    return f"{seconds} s" if is_on else "off"


def _time(raw: bytes) -> Value:
    seconds, microseconds = struct.unpack("ll", raw)
    return f"{seconds + microseconds / 1e6:g} s" if seconds or microseconds else "none"


def _credentials(raw: bytes) -> Value:
    process, user, group = struct.unpack("iii", raw)
    return f"pid {process} uid {user} gid {group}" if process else "none"


#: Decoders of values; any other option is a number, if it has the size of one.
DECODERS: dict[str, Callable[[bytes], Value]] = {
    "SO_BINDTODEVICE": _text,
    "SO_LINGER": _linger,
    "SO_PEERCRED": _credentials,
    "SO_RCVTIMEO": _time,
    "SO_SNDTIMEO": _time,
    "TCP_CONGESTION": _text,
    "TCP_ULP": _text,
    "IP_MULTICAST_IF": socket.inet_ntoa,
}
