"""The table of services and clients, with the expected answers."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import product

from attrs import frozen

STREAMS = ("tcp", "tcp6", "unix")
DATAGRAMS = ("udp", "udp6", "unixgram")

#: As long as the longest wait for an answer, in which time passes (seconds).
PATIENCE = 15

#: How much of a stream without end is looked at (bytes): more than fits the buffers of
#: a connection at once.
ENOUGH = 100 * 1024

REPLY = "I am a server"
QUOTE = "Less is more"

#: RFC 864, "Data Syntax": the printable characters; 72 of them are a line, and the next
#: line begins one further.
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
LINES = [(PRINTABLE * 2)[start : start + 72] + "\r\n" for start in range(len(PRINTABLE))]
CHARACTERS = "".join(LINES) * (ENOUGH // len("".join(LINES)) + 1)

#: An offset of less than a second, as clients print it.
SMALL = r"[+-]?0(?:\.\d+)?"


def moments() -> Iterator[int]:
    """List what the time may be when an answer comes (seconds since 1970)."""
    now = int(time.time())
    return iter(range(now - 1, now + PATIENCE))


def one_of(texts: Iterator[str]) -> str:
    """Write the pattern of one of some texts."""
    return "(?:" + "|".join(map(re.escape, texts)) + ")"


def number_since(epoch: int) -> Callable[[str], str]:
    """
    Expect the time as four bytes (RFC 868).

    @param epoch: when they begin to count, in seconds before 1970.
    """
    return lambda message: one_of(
        struct.pack("!I", moment + epoch).decode("latin-1") for moment in moments()
    )


def written(form: str) -> Callable[[str], str]:
    """Expect the time as strftime(3) writes it."""
    return lambda message: one_of(time.strftime(form, time.gmtime(when)) for when in moments())


def fixed(pattern: str) -> Callable[[str], str]:
    """Expect the same in answer to everything."""
    return lambda message: pattern


def characters(message: str) -> str:
    """Expect as much of the pattern as the message is long."""
    return re.escape(CHARACTERS[: len(message)])


@frozen
class Service:
    """
    A service of the daemon.

    @ivar options: what its section says, besides where it listens.
    @ivar transports: those that it listens on.
    @ivar expect: writes the pattern of the whole answer to a message.
    @ivar protocol: as F{docs/guide.md} names it.
    @ivar text: whether the answer is text.
    @ivar ends: whether there is an end of the answer to a message on a stream.
    """

    name: str
    protocol: str
    options: str
    transports: tuple[str, ...]
    expect: Callable[[str], str]
    text: bool = True
    ends: bool = True


BOTH = STREAMS + DATAGRAMS
# A datagram's answer is no longer than its question, and each question here is longer
# than these answers; so udp_amplify is not needed.
SERVICES = (
    Service("echo", "echo", "", BOTH, re.escape),
    Service("upper", "upper", "", BOTH, lambda message: re.escape(message.upper())),
    Service("discard", "discard", "log_messages = text", BOTH, fixed("")),
    Service("ack", "ack", "", STREAMS, lambda message: re.escape(message + "\nI get it!\n")),
    Service("reply", "reply", f"reply = {REPLY}", BOTH, fixed(re.escape(REPLY))),
    Service("talk", "reply", f"reply = {REPLY}\nclose = yes", STREAMS, fixed(re.escape(REPLY))),
    Service("daytime", "daytime", "", BOTH, written("%a %b %e %H:%M:%S %Y\r\n")),
    Service("qotd", "qotd", "texts = {quotes}", BOTH, fixed(re.escape(QUOTE + "\r\n"))),
    Service("whoami", "whoami", "format = short", BOTH, fixed(r"(?:unix.*|[0-9a-f.:]+ \d+)\n")),
    Service("time", "time", "epoch = 1900", BOTH, number_since(2208988800), text=False),
    Service("unixtime", "time", "epoch = unix", BOTH, number_since(0), text=False),
    Service("endless", "chargen", "", STREAMS, fixed(re.escape(CHARACTERS[:ENOUGH])), ends=False),
    Service("chargen", "chargen", "", DATAGRAMS, characters),
    Service("ntp", "ntp", "", ("udp", "udp6"), fixed("")),
    Service("kept", "ntp", "assume_synchronised = yes", ("udp", "udp6"), fixed("")),
)


class Input(Enum):
    """
    What becomes of a client's input.

    @cvar ENDS: it ends behind the message; the client shuts down writing, waits for the
        whole answer, and ends when the daemon closes.
    @cvar HELD: it stays open until the answer is there; then the client ends.
    @cvar STOPPED: likewise, but the client ends only when it is told to.
    """

    ENDS = 1
    HELD = 2
    STOPPED = 3


@frozen
class Client:
    """
    A client, and how it is called for a transport.

    @ivar command: with C{{host}}, C{{port}}, C{{path}} or C{{own}}, a path of its own.
    @ivar frame: the pattern of what it writes, with C{%s} for the answer.
    @ivar text: whether it takes some bytes of the answer for itself, and so is for text.
    @ivar endless: whether it reads while it waits for input.
    """

    transport: str
    command: str
    input: Input = Input.ENDS
    frame: str = "%s"
    text: bool = False
    endless: bool = True

    @property
    def name(self) -> str:
        """Its command without arguments."""
        return self.command.split()[0]

    def shown(self, answer: str) -> str:
        """Write the pattern of what it shows of an answer: telnet changes the ends of lines."""
        return answer.replace(re.escape("\r\n"), r"\r?\n") if self.text else answer


_TELNET = (
    r"Trying .*\.\.\.\nConnected to .*\.\nEscape character is '\^\]'\.\n%s"
    r"(?:Connection closed by foreign host\.\n)?"
)
CLIENTS = (
    Client("tcp", "ncat {host} {port}"),
    Client("tcp6", "ncat -6 {host} {port}"),
    Client("unix", "ncat -U {path}"),
    # It never ends, not even if its input does.
    Client("udp", "ncat -u {host} {port}", Input.STOPPED),
    Client("udp6", "ncat -6 -u {host} {port}", Input.STOPPED),
    Client("unixgram", "ncat -u -U {path}", Input.STOPPED),
    Client("tcp", "socat -t15 - TCP:{host}:{port}"),
    Client("tcp6", "socat -t15 - TCP6:[{host}]:{port}"),
    Client("unix", "socat -t15 - UNIX-CONNECT:{path}"),
    Client("udp", "socat -t0.1 - UDP:{host}:{port}", Input.HELD),
    Client("udp6", "socat -t0.1 - UDP6:[{host}]:{port}", Input.HELD),
    Client("unixgram", "socat -t0.1 - UNIX-SENDTO:{path},bind={own}", Input.HELD),
    Client("tcp", "nc.openbsd -N {host} {port}"),
    Client("tcp6", "nc.openbsd -6 -N {host} {port}"),
    Client("unix", "nc.openbsd -N -U {path}"),
    Client("udp", "nc.openbsd -u {host} {port}", Input.STOPPED),
    Client("udp6", "nc.openbsd -6 -u {host} {port}", Input.STOPPED),
    Client("unixgram", "nc.openbsd -u -U -s {own} {path}", Input.STOPPED),
    Client("tcp", "busybox nc {host} {port}"),
    Client("tcp6", "busybox nc {host} {port}"),
    Client("tcp", "telnet {host} {port}", Input.HELD, _TELNET, text=True),
    Client("tcp6", "telnet {host} {port}", Input.HELD, _TELNET, text=True),
    Client("tcp", "curl -sSN telnet://{host}:{port}", Input.STOPPED, text=True, endless=False),
    Client("tcp6", "curl -sSN telnet://[{host}]:{port}", Input.STOPPED, text=True, endless=False),
)


@frozen
class Row:
    """One client that asks one service."""

    service: Service
    client: Client

    @property
    def message(self) -> str:
        """What is sent: no two rows send the same, and all send more than comes back."""
        client = self.client
        return f"{self.service.name} is asked by {client.name} over {client.transport}.\n"


def rows() -> list[Row]:
    """Pair each service with the clients that can speak with it."""
    return [
        Row(service, client)
        for service, client in product(SERVICES, CLIENTS)
        if client.transport in service.transports
        and service.protocol != "ntp"
        and (service.text or not client.text)
        and (service.ends or client.endless)
    ]


@frozen
class Query:
    """
    One client that asks the time.

    @ivar command: as that of L{Client}.
    @ivar expect: writes the pattern of something that it prints.
    @ivar status: its exit status.
    """

    service: str
    transport: str
    command: str
    expect: Callable[[str], str]
    status: int = 0

    @property
    def name(self) -> str:
        """Its command without arguments."""
        return self.command.split()[0]


# -Q prints the offset and ends; -U and -u root let any user run it; the polls make it give
# up within two seconds; the rest keeps it from meeting another chronyd.
_CHRONYD = (
    "chronyd -Q -U -u root -t 10"
    " 'server {host} port {port} iburst minpoll 0 maxpoll 0 maxsamples 1'"
    " 'pidfile {own}' 'cmdport 0' 'bindcmdaddress /'"
)
_RDATE = "rdate -p -v -o {port} "
_BUSYBOX = "busybox rdate -p "

_DATE = written("%a %b %e %H:%M:%S UTC %Y\n")
_SHORT_DATE = written("%a %b %e %H:%M:%S %Y\n")
_NO_DATE = fixed("rdate: Ignoring NTP server with alarm flag set\n")
_ADJUST = fixed(rf"rdate: adjust local clock by {SMALL} seconds\n")
_WRONG = fixed(rf"System clock wrong by {SMALL} seconds \(ignored\)\n")
_NO_SOURCE = fixed("No suitable source for synchronisation\n")
_DIG = fixed(rf" \(\+0000\) {SMALL} \+/- \S+ \S+ s10 no-leap\n")
_NO_DIG = fixed("Response dropped: stratum 0, probable KOD packet\n")

#: C{ntp} has a clock that is not synchronised, and is refused; C{kept} counts as synchronised.
QUERIES = (
    Query("time", "tcp", _RDATE + "{host}", _DATE),
    Query("time", "tcp6", _RDATE + "-6 {host}", _DATE),
    Query("time", "udp", _RDATE + "-u {host}", _DATE),
    Query("time", "udp6", _RDATE + "-6 -u {host}", _DATE),
    Query("time", "tcp", _BUSYBOX + "{host}:{port}", _SHORT_DATE),
    Query("time", "tcp6", _BUSYBOX + "[{host}]:{port}", _SHORT_DATE),
    Query("kept", "udp", _RDATE + "-n {host}", _DATE),
    Query("kept", "udp", _RDATE + "-n {host}", _ADJUST),
    Query("kept", "udp6", _RDATE + "-6 -n {host}", _ADJUST),
    Query("ntp", "udp", _RDATE + "-n {host}", _NO_DATE, 1),
    Query("ntp", "udp6", _RDATE + "-6 -n {host}", _NO_DATE, 1),
    Query("kept", "udp", _CHRONYD, _WRONG),
    Query("kept", "udp6", _CHRONYD, _WRONG),
    Query("ntp", "udp", _CHRONYD, _NO_SOURCE, 1),
    Query("ntp", "udp6", _CHRONYD, _NO_SOURCE, 1),
)

#: The same for clients that ask port 123 only.
PORT_123_QUERIES = (
    Query("kept", "udp", "ntpdig -t 4 {host}", _DIG),
    Query("kept", "udp", "ntpdate -q -t 4 {host}", _DIG),
    Query("ntp", "udp", "ntpdig -t 4 {host}", _NO_DIG, 1),
    Query("ntp", "udp", "ntpdate -q -t 4 {host}", _NO_DIG, 1),
)
