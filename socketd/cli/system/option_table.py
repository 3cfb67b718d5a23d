"""Tables of socket options: level, format and meaning."""

from __future__ import annotations

import socket

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
    "IP_DEFAULT_MULTICAST_LOOP": "no option: what IP_MULTICAST_LOOP is when nobody sets it",
    "IP_DEFAULT_MULTICAST_TTL": "no option: what IP_MULTICAST_TTL is when nobody sets it",
    "IP_MAX_MEMBERSHIPS": "no option: how many groups a socket may join",
    "IPV6_RTHDR_TYPE_0": "no option: a kind of routing header",
}

#: Format of a value; an option that is not listed is a number, if it has the size of one.
FORMS = {
    "SO_BINDTODEVICE": "text",
    "SO_LINGER": "linger",
    "SO_PEERCRED": "credentials",
    "SO_RCVTIMEO": "time",
    "SO_SNDTIMEO": "time",
    "TCP_CONGESTION": "text",
    "TCP_ULP": "text",
    "IP_MULTICAST_IF": "address",
}

#: Descriptions that are short enough for a table.
MEANINGS = {
    "SO_ACCEPTCONN": "1 while the socket listens (read only)",
    "SO_BINDTODEVICE": "use this network interface only",
    "SO_BROADCAST": "datagrams may go to broadcast addresses",
    "SO_DEBUG": "have the kernel record debugging details",
    "SO_DOMAIN": "address family of the socket (read only)",
    "SO_DONTROUTE": "reach only directly attached networks, past no gateway",
    "SO_ERROR": "pending error; reading clears it",
    "SO_INCOMING_CPU": "CPU that the socket's packets are handled on",
    "SO_KEEPALIVE": "probe a silent peer to learn whether it is still there",
    "SO_LINGER": "how long a close waits for unsent data; 0 s resets the connection",
    "SO_MARK": "mark on outgoing packets, for routing and filters",
    "SO_OOBINLINE": "urgent data comes in line with the rest",
    "SO_PASSCRED": "UNIX: take the sender's credentials with each message",
    "SO_PASSSEC": "UNIX: take the sender's security label with each message",
    "SO_PEERCRED": "UNIX: process, user and group of the peer (read only)",
    "SO_PEERSEC": "security label of the peer (read only)",
    "SO_PRIORITY": "queueing priority of outgoing packets",
    "SO_PROTOCOL": "protocol number of the socket (read only)",
    "SO_RCVBUF": "bytes of the receive buffer (Linux doubles what is set)",
    "SO_RCVLOWAT": "bytes that must be there before a read returns",
    "SO_RCVTIMEO": "longest that a blocking read waits",
    "SO_REUSEADDR": "bind though old connections of the address linger",
    "SO_REUSEPORT": "several sockets share one address; the kernel spreads the load",
    "SO_SNDBUF": "bytes of the send buffer (Linux doubles what is set)",
    "SO_SNDLOWAT": "bytes of room before the socket counts as writable",
    "SO_SNDTIMEO": "longest that a blocking write waits",
    "SO_TYPE": "1 stream, 2 datagrams (read only)",
    "TCP_CONGESTION": "name of the congestion control",
    "TCP_CORK": "send full segments only, until it is taken off",
    "TCP_DEFER_ACCEPT": "accept only once the client has sent; seconds to wait for that",
    "TCP_FASTOPEN": "pending connections that may bring data with their first packet",
    "TCP_INFO": "state and statistics of the connection (read only)",
    "TCP_KEEPCNT": "unanswered probes before the connection is given up",
    "TCP_KEEPIDLE": "seconds of silence before the first probe",
    "TCP_KEEPINTVL": "seconds between two probes",
    "TCP_LINGER2": "seconds that a closed connection waits for the peer's end",
    "TCP_MAXSEG": "largest segment in bytes",
    "TCP_NODELAY": "send small pieces at once, gather none",
    "TCP_NOTSENT_LOWAT": "unsent bytes above which the socket counts as unwritable",
    "TCP_QUICKACK": "acknowledge at once, delay none",
    "TCP_SYNCNT": "tries to connect before it fails",
    "TCP_USER_TIMEOUT": "milliseconds that sent data may stay unacknowledged; 0: the system's",
    "TCP_WINDOW_CLAMP": "largest window to offer the peer",
    "IP_ADD_MEMBERSHIP": "join a multicast group (write only)",
    "IP_BIND_ADDRESS_NO_PORT": "leave the choice of the port from bind to connect",
    "IP_DROP_MEMBERSHIP": "leave a multicast group (write only)",
    "IP_HDRINCL": "raw sockets: the program writes the IP header",
    "IP_MULTICAST_IF": "interface that multicast leaves by",
    "IP_MULTICAST_LOOP": "own multicast comes back to this host",
    "IP_MULTICAST_TTL": "routers that multicast may pass",
    "IP_OPTIONS": "IP options on outgoing packets",
    "IP_RECVTOS": "take the type of service with each datagram",
    "IP_TOS": "type of service of outgoing packets",
    "IP_TRANSPARENT": "bind to addresses that are not this host's",
    "IP_TTL": "routers that a packet may pass",
    "IPV6_DONTFRAG": "drop what is too large rather than fragment it",
    "IPV6_JOIN_GROUP": "join a multicast group (write only)",
    "IPV6_LEAVE_GROUP": "leave a multicast group (write only)",
    "IPV6_MULTICAST_HOPS": "routers that multicast may pass",
    "IPV6_MULTICAST_IF": "number of the interface that multicast leaves by",
    "IPV6_MULTICAST_LOOP": "own multicast comes back to this host",
    "IPV6_RECVHOPLIMIT": "take the hop limit with each datagram",
    "IPV6_RECVPKTINFO": "take the address asked and the interface with each datagram",
    "IPV6_RECVTCLASS": "take the traffic class with each datagram",
    "IPV6_TCLASS": "traffic class of outgoing packets",
    "IPV6_UNICAST_HOPS": "routers that a packet may pass; -1: the system's",
    "IPV6_V6ONLY": "serve IPv6 only, not IPv4 by mapped addresses",
}


def option_names() -> list[str]:
    """
    List the constants of this Python's C{socket} module that look like socket options.

    @return: their names: socket, TCP, IP and IPv6 options, each in alphabetical order.
    """
    return [
        name
        for prefix in LEVELS
        for name in sorted(dir(socket))
        if name.startswith(prefix) and isinstance(getattr(socket, name), int)
    ]


def level_of(name: str) -> str | None:
    """
    Return the level of an option.

    @param name: the option.
    @return: the name of the level; C{None} if the constant is not an option of Internet sockets.
    """
    if name in NOT_OPTIONS or name.startswith(FOREIGN):
        return None
    return LEVELS[name.partition("_")[0] + "_"]


def meaning_of(name: str) -> str:
    """
    Return the description of an option.

    @param name: the option.
    @return: the description, or an empty text.
    """
    if name.startswith(FOREIGN):
        return "an option of another socket family"
    return NOT_OPTIONS.get(name) or MEANINGS.get(name, "")
