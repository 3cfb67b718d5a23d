"""
The configurations of the daemon under load: one to measure under, and its variants.

Each service is there for one kind of client: what well-behaved peers send and receive is known to
the byte, so no other client may use their services.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from random import Random

from attrs import frozen

from tests.support.ports import free_port

#: The name of the certificates.
NAME = "soak.example.org"

#: A source that is banned now and then, and one that C{few} denies.
BANNED, DENIED = "127.0.0.66", "127.0.0.9"

#: Connections that C{capped} has at once, and those of a source that C{few} has at least.
CAP, PER_SOURCE = 20, 5

#: The deadlines of the services that end connections (seconds).
SHORT = 0.5

#: That of C{idle}, longer than a client may take for its first word on a busy machine.
QUIET = 1.5

#: Those of the others: longer than the longest pause of a healthy peer.
LONG = 30

QUOTES = ("Short.", "A quote of two lines,\nwith a full stop.", "The longest of the three. " * 9)

ACKNOWLEDGEMENT = b"\nI get it!\n"
REPLY = b"I am a server"
FIRST_REPLY = b"Are you want to talk to me"

#: The longest line of C{upper}.
MAX_LINE = 4096

#: The send buffer of services without end: what is lost with a reset is bounded.
SEND_BUFFER = 64 * 1024

#: The bounds of C{web} that clients go beyond (bytes).
MAX_HEADER, MAX_BODY, MAX_FRAMES = 2048, 16 * 1024, 8 * 1024

#: What C{source} sends (bytes).
CHARACTERS = 100_000

#: The key of C{secret}.
KEY = b"correct-horse"

#: How many ports C{ipsla} may open.
PROBE_PORTS = 4

#: What C{modem} and the others answer; L{tests.soak.scripts} says the same in its own words.
MODEM = r"""
"AT"              -> "OK\r\n"
prefix "HELO "    -> "250 hello\r\n"
contains "status" -> "up\r\n", after 20ms
/\+CSQ(\d*)/      -> "+CSQ: 24,\1\r\n"
hex 01 03 .. ..   -> hex 01 83 02
"twice"           -> "here\r\n", times 2
"QUIT"            -> "bye\r\n", close
every 3rd         -> "BUSY\r\n"
*                 -> "ERROR\r\n"
"""
PINGS = r"""
contains "ping" -> "pong"
contains "late" -> "now", after 20ms
*               -> "what"
"""

#: The fault profiles that C{faulty} and C{lossy} are switched to.
PROFILES = {
    "faulty": ("late", "sliced", "narrow", "resetting", "closing", "half-closing", "deaf", "off"),
    "lossy": ("late", "narrow", "wild", "deaf", "off"),
}

SERVICES = f"""
[echo]
listen = {{tcp}}, {{tcp6}}, {{unix}}
[datagrams]
protocol = echo
listen = {{udp}}, {{udp6}}, {{unixgram}}
[secure]
protocol = echo
listen = {{tls}}, {{tls6}}
[proxied]
protocol = echo
listen = haproxy:{{tcp}}, haproxy:{{unix}}
proxy_from = 127.0.0.1
[both]
protocol = echo
listen = haproxy:{{tls}}
proxy_from = 127.0.0.1
[upper]
listen = {{tcp}}, {{unix}}, {{udp}}
framing = line
max_message = {MAX_LINE}
[ack]
listen = {{tcp}}, {{unix}}
operator = never
[server]
protocol = reply
listen = {{tcp}}, {{udp}}
reply = {REPLY.decode()}
udp_amplify = 64
[talk]
protocol = reply
listen = {{tcp}}, {{unix}}
reply = {FIRST_REPLY.decode()}
close = yes
[time]
listen = {{tcp}}, {{udp}}
[rfc868]
protocol = time
listen = {{tcp}}, {{udp}}
epoch = 1900
[daytime]
listen = {{tcp}}, {{udp}}
udp_amplify = 32
[ntp]
listen = {{udp}}
[qotd]
listen = {{tcp}}, {{udp}}
texts = {{directory}}/quotes
udp_amplify = 512
[discard]
listen = {{tcp}}, {{unix}}, {{udp}}
[chargen]
listen = {{tcp}}, {{udp}}
so_sndbuf = {SEND_BUFFER}
[misuse]
protocol = echo
listen = {{tcp}}, {{unix}}, {{udp}}
[aborted]
protocol = echo
listen = {{tls}}, haproxy:{{tcp}}
proxy_from = 127.0.0.1
[capped]
protocol = echo
listen = {{tcp}}
max_connections = {CAP}
[few]
protocol = echo
listen = {{tcp}}
deny = {DENIED}
[guarded]
protocol = echo
listen = {{udp}}
guard_loopback = yes
[first]
protocol = echo
listen = {{tcp}}
first_byte_timeout = {SHORT * 1000:.0f}ms
[idle]
protocol = echo
listen = {{tcp}}
idle_timeout = {QUIET * 1000:.0f}ms
[life]
protocol = echo
listen = {{tcp}}
lifetime = {SHORT * 1000:.0f}ms
[stalled]
protocol = chargen
listen = {{tcp}}
so_sndbuf = {SEND_BUFFER}
stall_timeout = {SHORT * 1000:.0f}ms
[hurried]
protocol = echo
listen = {{tls}}, haproxy:{{tcp}}
proxy_from = 127.0.0.1
handshake_timeout = {SHORT * 1000:.0f}ms
[source]
protocol = chargen
listen = {{tcp}}
bytes = {CHARACTERS}
[sink]
protocol = discard
listen = {{tcp}}, {{unix}}
report = yes
[numbered]
protocol = echo
listen = {{udp}}
sequence = 0:4
[modem]
protocol = reply
listen = {{tcp}}, {{unix}}
framing = line
greeting = "220 ready\\r\\n"
rules = {{directory}}/modem.rules
[quiet]
protocol = reply
listen = {{tcp}}
rules = idle 200ms -> "are you there?\\n"
[length]
protocol = reply
listen = {{tcp}}
framing = length:2
rules = {{directory}}/ping.rules
[delimited]
protocol = reply
listen = {{unix}}
framing = delimiter:\\x03
rules = {{directory}}/ping.rules
[fixed]
protocol = reply
listen = {{tcp}}
framing = fixed:6
rules = {{directory}}/ping.rules
[pulse]
protocol = reply
listen = {{tcp}}
framing = idle:50ms
rules = {{directory}}/ping.rules
[spoken]
protocol = reply
listen = {{udp}}
udp_amplify = 64
rules = {{directory}}/ping.rules
[faulty]
protocol = echo
listen = {{tcp}}, {{unix}}
[lossy]
protocol = echo
listen = {{udp}}
[web]
protocol = http
listen = {{tcp}}, {{unix}}
max_header = {MAX_HEADER}
max_body = {MAX_BODY}
health = /health
[hasty]
protocol = http
listen = {{tcp}}
request_timeout = {SHORT * 1000:.0f}ms
[websocket]
listen = {{tcp}}, {{unix}}
subprotocols = chat
max_message = {MAX_FRAMES}
[stamp]
listen = {{udp}}
[secret]
protocol = stamp
listen = {{udp}}
keys = {{directory}}/keys
[ipsla]
listen = {{udp}}
ports = {{probes}}
[nts-ke]
listen = {{tls}}
keys = {{directory}}/nts.keys
[nts]
protocol = ntp
listen = {{udp}}
nts = nts-ke
[fault:late]
latency = 20ms jitter 10ms normal
[fault:sliced]
slice = 1..64 every 5ms
[fault:narrow]
bandwidth = 64KiB/s
[fault:resetting]
reset = after 1000B
[fault:closing]
close = after 1000B
[fault:half-closing]
half-close = after 1000B
[fault:deaf]
accept = silent
share = 50%
[fault:wild]
latency = 5ms jitter 5ms
loss = 10% burst 25%
duplicate = 10%
reorder = 20% gap 3
corrupt = 10%
truncate = 10%
"""

#: There now and then, and not always at all of its listeners.
PASSING = tuple(
    f"\n[passing]\nprotocol = echo\nlisten = {listeners}\n"
    for listeners in ("{tcp}, {unix}, {udp}", "{tcp}, {udp}", "{unix}")
)

_LISTENERS = {
    "tcp": "tcp:0:interface=127.0.0.1",
    "tcp6": r"tcp6:0:interface=\:\:1:optional=yes",
    "tls": "tls:0:interface=127.0.0.1",
    "tls6": r"tls6:0:interface=\:\:1:optional=yes",
    "udp": "udp:0:interface=127.0.0.1",
    "udp6": r"udp6:0:interface=\:\:1:optional=yes",
}


@frozen
class Variable:
    """An option that reloads change; no value changes what a peer is answered."""

    service: str
    option: str
    values: tuple[str, ...]


VARIABLES = (
    Variable("echo", "so_keepalive", ("no", "yes")),
    Variable("echo", "idle_timeout", ("30s", "40s")),
    Variable("echo", "tcp_nodelay", ("yes", "no")),
    Variable("datagrams", "so_rcvbuf", ("1MiB", "2MiB")),
    Variable("secure", "tls_minimum", ("1.2", "1.3")),
    Variable("proxied", "stall_timeout", ("30s", "40s")),
    Variable("upper", "log_messages", ("no", "text")),
    Variable("ack", "max_connections", ("500", "400")),
    Variable("talk", "log_connections", ("no", "yes")),
    Variable("few", "max_per_source", (str(PER_SOURCE), str(PER_SOURCE + 2))),
    Variable("guarded", "udp_rate", ("100/s", "50/s")),
    Variable("capped", "lifetime", ("1h", "2h")),
)

#: Files that must be refused, each for another reason.
BAD = ("[socketd]\nlog_level = loud\n", "[echo\n", "[ehco]\nlisten = tcp:0\n", "[echo]\n")


def base(directory: Path) -> str:
    """Write the configuration that is measured under."""
    return _write(directory, {variable: variable.values[0] for variable in VARIABLES}, "")


def variant(directory: Path, random: Random) -> str:
    """Write one of the others."""
    values = {variable: random.choice(variable.values) for variable in VARIABLES}
    return _write(directory, values, random.choice(("", *PASSING)))


def unbindable(directory: Path, address: tuple[str, int]) -> str:
    """Write one whose second listener cannot be bound, at an address that is taken."""
    taken = f"tcp:{address[1]}:interface={address[0]}"
    return base(directory) + f"[taken]\nprotocol = echo\nlisten = tcp:0, {taken}\n"


def write_files(directory: Path) -> None:
    """Write what the services need."""
    for name, text in (
        ("quotes", "\n%\n".join(QUOTES)),
        ("modem.rules", MODEM),
        ("ping.rules", PINGS),
        ("keys", f"* {KEY.decode()}\n"),
    ):
        (directory / name).write_text(text, encoding="ascii")
        (directory / name).chmod(0o600)


@cache
def first_probe_port() -> int:
    """Find ports in a row for C{ipsla}, and name the first."""
    while True:
        first = free_port()
        with ExitStack() as stack, suppress(OSError):
            for number in range(PROBE_PORTS):
                sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                sock.bind(("127.0.0.1", first + number))
            return first


def quotes() -> list[bytes]:
    """The quotes as they go over the connection (RFC 865, lines as in RFC 854)."""
    return [text.rstrip().replace("\n", "\r\n").encode() + b"\r\n" for text in QUOTES]


def unix_path(directory: Path, service: str, kind: str) -> str:
    """Where a service has its UNIX socket."""
    return f"{directory}/{service}.{kind}"


def has_ipv6() -> bool:
    """Say whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _write(directory: Path, values: Mapping[Variable, str], more: str) -> str:
    head = f"""
[socketd]
control = {directory}/control.sock
http = tcp:0:interface=127.0.0.1
drain_timeout = 2s
[defaults]
tls_certificate = {directory}/server.pem
log_connections = no
first_byte_timeout = {LONG}s
idle_timeout = {LONG}s
stall_timeout = {LONG}s
handshake_timeout = {LONG}s
"""
    sections = (f"[{section}" for section in f"{SERVICES}{more}".split("\n[")[1:])
    return head + "".join(_section(directory, text, values) for text in sections)


def _section(directory: Path, text: str, values: Mapping[Variable, str]) -> str:
    name = text[1 : text.index("]")]
    paths = {kind: f"{kind}:{unix_path(directory, name, kind)}" for kind in ("unix", "unixgram")}
    known = _LISTENERS | paths | {"directory": str(directory), "probes": _probes()}
    lines = [text.format(**known).strip()]
    lines += [f"{one.option} = {value}" for one, value in values.items() if one.service == name]
    return "\n".join([*lines, ""])


def _probes() -> str:
    first = first_probe_port()
    return f"{first}..{first + PROBE_PORTS - 1}"
