"""Bytes that look like what a target expects, more or less: most of a grammar, then any."""

from __future__ import annotations

import binascii
import json
import socket
import struct
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from socketd.common.commands import COMMANDS
from socketd.net.datagram.cmsg import IP_PKTINFO, SO_TIMESTAMPNS
from socketd.protocols.registry import installed
from tests.fuzz.faulty_datagrams import CHOICES
from tests.fuzz.operators import SEPARATOR
from tests.fuzz.targets import blocks, options
from tests.protocols.clock.nts_client import END, USUAL, ef, record
from tests.protocols.measure import ipsla_wire
from tests.protocols.measure.stamp_wire import tlv
from tests.protocols.web.autobahn import deflate
from tests.protocols.web.frames import frame

Bytes = SearchStrategy[bytes]

CORPUS = Path(__file__).parent / "corpus"

#: Longer texts find nothing that these do not.
MOST_LINES = 12

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
anything = st.binary(max_size=300) | texts.map(str.encode)

# Packets of measurements

_tlvs = st.builds(
    tlv,
    st.integers(0, 12),
    st.sampled_from([b"", bytes(4), bytes(12), bytes(16), b"\x80\4\0\x10" + bytes(16)]),
    st.sampled_from([0, 0x80, 0xFF]),
    st.none() | st.sampled_from([0, 4, 65535]),
)

# Datagrams that wait, reads and switches, of which the first are most

_arrivals = st.tuples(
    st.integers(0, 3).map(lambda place: place << 4) | st.just(0),
    st.integers(0, 7),
    st.integers(0, 255),
).map(lambda three: bytes([three[0] | three[1], three[2]]))
_reads = st.integers(0, 255).map(lambda byte: bytes([0xC0, byte]))
_switches = st.integers(0, 255).map(lambda byte: bytes([0xF0, byte]))
_datagrams = st.tuples(
    st.binary(min_size=3, max_size=3),
    st.lists(_arrivals | _arrivals | _arrivals | _reads | _switches, max_size=120).map(b"".join),
).map(b"".join)

# Listeners, networks, numbers

_hosts = st.sampled_from(
    ["", "127.0.0.1", "::1", r"\:\:1", r"fe80\:\:1%lo", "localhost", "a..b", "x" * 70]
    + ["256.1.1.1", "127.1", "0x7f.1", "é.example", "*", "::ffff:1.2.3.4", "-", "."]
)
_numbers = st.sampled_from(
    ["0", "7", "65535", "65536", "-1", "", "٣", "1_0", "007", "1e3", "8" * 9]
)
_pieces = st.one_of(
    st.sampled_from(["tcp", "tcp6", "tls", "tls6", "udp", "udp6", "unix", "unixgram", "systemd"]),
    st.sampled_from(["haproxy", ":", "=", "\\", "interface=", "mode=", "backlog="]),
    st.sampled_from(["optional=yes"]),
    st.sampled_from(["tls=yes", "{runtime}", "/a.sock", "660", "0o7", " ", "\x1b", "\u2028"]),
    _hosts,
    _numbers,
)
_ports = st.sampled_from(["7", "0", "8080", "65535"])
_addresses = st.sampled_from(["", ":interface=127.0.0.1", ":optional=yes", ":backlog=5"])
_kinds = st.sampled_from(["tcp", "udp", "haproxy:tcp"])
_modes = st.sampled_from(["", ":mode=600"])
_right = st.builds("{}:{}{}".format, _kinds, _ports, _addresses)
_right |= st.builds(
    "{}:{}.sock{}".format, st.sampled_from(["unix", "haproxy:unix"]), _ports, _modes
)
_parts = st.lists(_pieces, max_size=6)
listeners = _right | _parts.map("".join) | _parts.map(":".join)
networks = st.lists(
    st.one_of(
        st.sampled_from(["any", "loopback", "private", "192.0.2.0/24", "2001:db8::/32", "::/0"]),
        st.sampled_from(["::ffff:0:0/96", "::ffff:10.0.0.1/104", "10.0.0.1/8"]),
        st.sampled_from(["1.2.3.4/255.0.0.0", "192.0.2.0/255.255.255.0"]),
        st.ip_addresses().map(str),
        st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 130)),
        _hosts,
        texts,
    ),
    max_size=5,
).map(" ".join)
numbers = st.builds(
    "{}{}".format,
    _numbers | st.integers(0, 10**15).map(str) | st.floats(0, 1e12).map(repr),
    st.sampled_from(["", "s", "ms", "m", "h", "d", "/s", "/m", "/h"])
    | st.sampled_from(["KiB", "MiB", " GiB", "B", "k"]),
)

# Configurations

_options = st.sampled_from(sorted({option.name for option in options()}))
_words = st.sampled_from(["yes", "no", "", "on", "text", "json", "line", "auto", "1.2", "1.3"])
_words |= st.sampled_from(["GPS", "spiffe://a/b", "*.a", "http/1.1", "32:64", r"\x00", "\\"])
_lists = st.lists(listeners, max_size=3).map(", ".join)
values = st.one_of(_words, numbers, networks, listeners, texts, _lists)
_names = st.sampled_from(["socketd", "defaults", "echo", "a", "A.b", "x y", "", "ä", "\x1b[1m"])
_names |= st.sampled_from(sorted(installed()))
_lines = st.one_of(
    st.builds("{} = {}".format, _options, values),
    st.builds("protocol = {}".format, st.sampled_from(sorted(installed()))),
    st.builds("listen = {}".format, listeners),
    _names.map("[{}]".format),
    st.builds("    {}".format, values),
    st.sampled_from(["", "; note", "# note", "[", "= 1", "a", "a ; b", "listen =", "\r"]),
    texts,
)
_bodies = st.lists(_lines, max_size=MOST_LINES).map("\n".join)


def _service(name: str, listen: str, more: list[tuple[str, str]]) -> str:
    lines = [f"[{name}]", f"listen = {listen}", *(f"{option} = {value}" for option, value in more)]
    return "\n".join(lines) + "\n"


_mostly = st.sampled_from(
    [("max_connections", "5"), ("allow", "any"), ("udp_rate", "2/s"), ("idle_timeout", "5s")]
    + [("log_messages", "hex"), ("proxy_from", "loopback"), ("so_keepalive", "yes")]
    + [("enabled", "no")]
)
# Fault profiles

_times = st.sampled_from(["80ms", "1s", "0s", "1h", "2h", "0.000001ms", "999.9999999ms", "5"])
_shares = st.sampled_from(["10%", "0.1%", "0%", "100%", "33.333333%", "101%", "1"])
_pieces_of = st.sampled_from(["1", "1..16", "65536", "16..1", "0", "1..65537", "1KiB"])
_ends = st.sampled_from(["after 100B", "after 1KiB", "after 2s", "after 0s", "at once", "after 1"])
_forms: dict[str, SearchStrategy[str]] = {
    "seed": _numbers,
    "share": _shares,
    "first": _numbers,
    "skip": _numbers,
    "latency": _times
    | st.builds("{} jitter {}".format, _times, _times)
    | st.builds(
        "{} jitter {} {}".format,
        _times,
        _times,
        st.sampled_from(["uniform", "normal", "lognormal", "pareto"]),
    ),
    "bandwidth": st.builds("{}/s".format, numbers) | st.just("16KiB/s"),
    "slice": _pieces_of | st.builds("{} every {}".format, _pieces_of, _times),
    "accept": st.sampled_from(["refuse", "silent", "never-read", "slow 5s", "slow", "no"]),
    **dict.fromkeys(("reset", "close", "half-close"), _ends),
    "loss": _shares | st.builds("{} burst {}".format, _shares, _shares),
    "reorder": _shares | st.builds("{} gap {}".format, _shares, _numbers),
    **dict.fromkeys(("duplicate", "corrupt", "truncate"), _shares),
    "at": st.sampled_from(["wire", "protocol", "above"]),
}
profiles = st.lists(
    st.sampled_from(sorted(_forms)).flatmap(
        lambda name: st.builds("{} = {}".format, st.just(name), _forms[name] | texts)
    ),
    max_size=5,
    unique_by=lambda line: line.partition(" ")[0],
).map("\n".join)

_services = st.builds(
    _service,
    st.sampled_from(["echo", "upper", "ack", "time", "discard", "daytime", "chargen", "reply"]),
    _right,
    st.lists(_mostly | st.tuples(_options, values), max_size=3, unique_by=lambda pair: pair[0]),
)
_daemons = st.sampled_from(
    ["", "[socketd]\nlog_level = warn\n", "[socketd]\nhttp = tcp:0\n"]
    + ["[defaults]\nlog_messages = hex\n", "[socketd]\ncontrol = /run/c\n"]
    + ["[socketd]\ndrain_timeout = 1s\nmax_connections = 9\n"]
)
_good = st.builds(
    lambda one, more: one + "".join(more),
    _daemons,
    st.lists(_services, min_size=1, max_size=3),
)
_sound = st.builds(
    lambda daemon, services: daemon + "".join(_service(*found) for found in services),
    _daemons,
    st.lists(
        st.tuples(
            st.sampled_from(["echo", "upper", "ack", "discard", "daytime", "chargen"]),
            st.integers(1, 65535).map("tcp:{}".format),
            st.lists(_mostly, max_size=3, unique_by=lambda pair: pair[0]),
        ),
        min_size=1,
        max_size=3,
        unique_by=(lambda found: found[0], lambda found: found[1]),
    ),
).map(str.encode)
_mixed = st.builds("{}\n{}".format, _good, _bodies)
arguments = st.builds(
    lambda protocol, words: "\0".join([protocol, *words]),
    _names,
    st.lists(
        listeners
        | st.builds("{}={}".format, _options, values)
        | st.builds("fault.{}={}".format, _options, values)
        | texts,
        max_size=6,
    ),
).map(str.encode)
configurations = (_good | _bodies | _mixed).map(str.encode)

# Packets and headers

# Control messages of IP SLA, mostly right, then probes

_ipsla = st.builds(
    struct.Struct("!BBHIHHI4sHH28s").pack,
    st.sampled_from([1, 1, 1, 2]),
    st.integers(0, 255),
    st.sampled_from([52, 24, 0, 65535]),
    st.just(0),
    st.sampled_from([0, 2, 3, 4, 6, 7, 8, 9]),
    st.sampled_from([16, 32, 0]),
    st.just(0),
    st.binary(min_size=4, max_size=4),
    st.sampled_from([50000, 50100, 50101, 0, 1967]),
    st.sampled_from([0, 1, 5000, 65535]),
    st.sampled_from([b"", b"\0\1\0\x1c", b"\0\1\0\x1c" + b"x" * 24]),
)
_ipsla_v2 = st.builds(
    ipsla_wire.request,
    st.sampled_from([50000, 50100, 50101, 0]),
    st.sampled_from([0, 1, 2, 2, 3]),
    st.sampled_from([ipsla_wire.KEY, ipsla_wire.KEY, b"guess"]),
    milliseconds=st.sampled_from([0, 5000, 2**32 - 1]),
    kind=st.integers(0, 4),
    role=st.integers(0, 3),
)
_ipsla |= _ipsla_v2 | st.builds(
    lambda message, at, octet: message[:at] + octet + message[at + 1 :],
    _ipsla_v2,
    st.integers(0, 171),
    st.binary(max_size=1),
)
_ipsla |= st.builds(
    lambda kind, rest: bytes([0, kind]) + rest, st.integers(0, 5), st.binary(max_size=70)
)

_requests = st.builds(
    lambda first, poll, rest, more: bytes([first, 0, poll]) + rest + more,
    st.integers(0, 255) | st.sampled_from([0x23, 0x1B, 0x21, 0xE3]),
    st.integers(0, 255),
    st.binary(min_size=45, max_size=45) | st.just(bytes(45)),
    st.sampled_from([b"", bytes(4), bytes(20), bytes(1)]),
)
_instants = st.integers(-(2**62), 2**62)
_instants |= st.integers(1_767_225_599 * 10**9, 2_085_978_500 * 10**9)
_clocks = st.builds(
    lambda *fields: struct.pack("!qqbBd", *fields),
    _instants,
    st.sampled_from([0, 1, 10**6]) | st.integers(-(10**12), 10**12),
    st.integers(-128, 127),
    st.integers(0, 255),
    st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 16),
)
_fields = st.sampled_from(
    [b"PROXY", b"TCP4", b"TCP6", b"UNKNOWN", b"192.0.2.7", b"::1", b"::ffff:1.2.3.4", b"0"]
    + [b"65535", b"65536", b"007", b"", b"\r", b"\n", b"1.2.3.4\0"]
)
_v1 = st.builds(
    lambda found: b"PROXY " + b" ".join(found) + b"\r\n", st.lists(_fields, max_size=7)
)
_v1 |= st.sampled_from([b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY TCP6 ::1 ::2 1 2\r\n"])
_tlvs = st.lists(
    st.builds(lambda kind, value: struct.pack("!BH", kind, len(value)) + value,
              st.sampled_from([1, 3, 4, 0xE0]), st.binary(max_size=6)),
    max_size=3,
).map(b"".join)


def _v2(command: int, kind: int, block: bytes, wrong: int) -> bytes:
    fixed = struct.pack("!BBH", command, kind, max(0, len(block) + wrong))
    return bytes.fromhex("0d0a0d0a000d0a515549540a") + fixed + block


_blocks = st.builds(
    lambda size, more, fill: bytes([fill]) * size + more,
    st.sampled_from([0, 11, 12, 36, 216, 4000, 5000]), _tlvs, st.integers(0, 255),
)
_binary = st.builds(
    _v2,
    st.sampled_from([0x20, 0x21, 0x22, 0x11]),
    st.sampled_from([0x11, 0x21, 0x31, 0x00, 0x12, 0x41]),
    _blocks | st.binary(min_size=216, max_size=216),
    st.sampled_from([0, 0, 0, 1, -1, 60000]),
)
headers = st.builds(lambda header, rest: header + rest, _v1 | _binary, st.binary(max_size=20))


def _message(level: int, kind: int, data: bytes, wrong: int) -> bytes:
    size = struct.calcsize("@Nii") + len(data) + wrong
    packed = struct.pack("@Nii", max(0, size), level, kind) + data
    return packed + bytes(-len(packed) % struct.calcsize("@N"))


_messages = st.lists(
    st.builds(
        _message,
        st.sampled_from([socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6, 77]),
        st.sampled_from([SO_TIMESTAMPNS, IP_PKTINFO, socket.IPV6_PKTINFO, 1]),
        st.sampled_from([bytes(16), bytes(12), bytes(20), b""]) | st.binary(max_size=24),
        st.sampled_from([0, 0, 0, 1, -1, -16, 2**40]),
    ),
    max_size=4,
).map(b"".join)

# Lines

_commands = st.builds(
    lambda name, more: " ".join([name, *more]),
    st.sampled_from([*COMMANDS, "statu", "", "json"]),
    st.lists(
        st.sampled_from(["1", "2", "3", "99", "-1", "٣", "ack", "shout", "debug"])
        | st.sampled_from(["for 10m", "for 0s", "for", "for  9999999999d", "\x1b[1m", "\udc80"])
        | st.sampled_from(["192.0.2.0/24", "::/0", "any"])
        | texts,
        max_size=4,
    ),
)
_keys = st.sampled_from(["id", "text", "data", "source", "duration", "service", "level", "x"])
_given: SearchStrategy[Any] = st.sampled_from(
    [1, 99, "1", "ack", "debug", "", "YWI=", "192.0.2.1", "10m", None, []]
)
_objects = st.builds(
    lambda name, more: json.dumps({"command": name, **more}),
    st.sampled_from([*COMMANDS, "statu", "\ud800", 1]),
    st.dictionaries(_keys | texts, _given | texts, max_size=4),
)
console = st.lists(_commands | _objects | texts, max_size=6).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogateescape")
)
quotes = st.lists(
    st.sampled_from(["%", "", "a", "x" * 510, "x" * 511, " % ", "\r", "é" * 255, "%%"]) | texts,
    max_size=MOST_LINES,
).map(lambda lines: "\n".join(lines).encode())

# Files of super-servers

_cases = st.sampled_from([str, str.upper, str.title])
_attributes = st.sampled_from(
    ["only_from", "no_access", "disable", "type", "flags", "id", "port", "socket_type", "bind"]
    + ["instances", "per_source", "cps", "v6only", "protocol", "wait", "interface", "enabled"]
    + ["disabled", "user", "server", "redirect", "spleen"]
)
_arguments = st.sampled_from(
    ["yes", "no", "UNLIMITED", "192.0.2.0", "192.0.2.{1,2}", "::1/64", "0.0.0.0", "localhost"]
    + ["NODELAY", "IPv4", "IPv6", "SENSOR", "INTERNAL UNLISTED", "echo", "7", "70000", "5 10"]
    + ["stream", "dgram", "udp", "tcp", "echo-dgram", "", "a.example"]
)
_said = st.builds(
    lambda case, name, sign, value: f"\t{case(name)} {sign} {value}",
    _cases, _attributes, st.sampled_from(["=", "=", "=", "+=", "-="]), _arguments,
)
_entries = st.builds(
    lambda case, name, kind, more: (
        f"{case('service')} {name}\n{{\ntype = INTERNAL\nwait = no\n"
        f"socket_type = {kind}\n{more}\n}}\n"
    ),
    _cases,
    st.sampled_from(["echo", "time", "chargen", "daytime", "discard", "ECHO", "ftp"]),
    st.sampled_from(["stream", "dgram", "Stream"]),
    st.lists(_said, max_size=4).map("\n".join),
)
_before = st.builds(
    lambda case, more: f"{case('defaults')}\n{{\n{more}\n}}\n",
    _cases,
    st.lists(_said, max_size=3).map("\n".join),
)
_inetd = st.builds(
    "{} {} {} {} root internal".format,
    st.sampled_from(["echo", "time", "127.0.0.1:echo", "[::1]:daytime", "*:", "chargen", "ftp"]),
    st.sampled_from(["stream", "dgram"]),
    st.sampled_from(["tcp", "tcp4", "tcp6", "tcp6only", "udp", "udp6", "tcp46", "rpc/tcp"]),
    st.sampled_from(["nowait", "wait", "nowait.40", "nowait/5/60/2"]),
)
superservers = st.one_of(
    st.lists(_entries | _before | st.just("include x\n"), max_size=4).map("".join),
    st.lists(_inetd | texts, max_size=5).map("\n".join),
    st.lists(
        _said | texts | st.sampled_from(["{", "}", "service echo"]), max_size=MOST_LINES
    ).map("\n".join),
)

# Certificates


def _pem(label: bytes, der: bytes) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN %s-----" % label, *lines, b"-----END %s-----" % label, b""])


def _damaged(block: tuple[bytes, bytes], damages: list[tuple[int, bytes, int]]) -> bytes:
    """Write a block with some of its bytes replaced by others, fewer or more."""
    label, der = block
    for place, data, length in damages:
        at = place % len(der)
        der = der[:at] + data + der[at + length :]
    return _pem(label, der)


#: The corpus has the certificates and keys: made here, they would be others each time.
_pems = [path.read_bytes() for path in sorted((CORPUS / "certificates").iterdir())]
_blocks_of_pem = sorted({block for data in _pems for block in blocks(data)})
_damages = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.binary(min_size=1, max_size=1) | st.binary(max_size=3),
        st.sampled_from([1, 1, 1, 0, 2]),
    ),
    max_size=3,
)
certificates = st.lists(
    st.builds(_damaged, st.sampled_from(_blocks_of_pem), _damages), min_size=1, max_size=3
).map(b"".join)
certificates |= st.builds(
    lambda data, damages: b"".join(_damaged(block, damages) for block in blocks(data)),
    st.sampled_from(_pems), _damages,
)

# What operators type while clients come and go, and what a daemon says

_keys = st.sampled_from(
    [b"\r", b"\r", b"ok", b"drain", b"status", b"/status", b"quit", b"\x7f", b"\x15", b"\t"]
    + [b"\x04", b"\x1b[A", b"\x1b[D", b"/reply 1 x", b"/close 1", b"answer 2 x", "長い".encode()]
)
_steps = st.lists(
    st.builds(
        lambda what, keys: bytes([what]) + b"".join(keys),
        st.integers(0, 5),
        st.lists(_keys, max_size=4),
    ),
    max_size=MOST_LINES,
).map(SEPARATOR.join)

_values: SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1, -1, 2**70, True, "", "x\x1b", [], [1], {}, 1e300, "ack"]
)
_names = st.sampled_from(
    ["ok", "event", "count", "oldest", "facts", "connection", "rows", "columns", "units", "text",
     "line", "summary", "time", "error", "details", "id", "service", "peer", "command"]
)  # fmt: skip
_things = st.dictionaries(_names, _values, max_size=4)
_sayings = st.lists(
    st.one_of(
        st.fixed_dictionaries({
            "event": st.just("waiting"),
            "count": _values,
            "oldest": st.lists(
                st.fixed_dictionaries({"id": _values, "service": _values, "peer": _values}),
                max_size=3,
            ),
        }),
        st.builds(
            lambda rows, more: {"ok": True, "columns": ["id", "in"], "rows": rows} | more,
            st.lists(st.fixed_dictionaries({"id": _values, "in": _values}), max_size=3),
            _things,
        ),
        st.builds(
            lambda name, facts: {"event": name, "facts": facts},
            st.sampled_from(["connection_made", "connection_lost", "left_out", "x"]),
            _things,
        ),
        _things,
    ).map(lambda found: json.dumps(found).encode()),
    max_size=MOST_LINES,
).map(SEPARATOR.join)

# HTTP

_targets = st.sampled_from(
    ["/", "/status/200,500?seed=1", "/delay/1", "/bytes/39999", "/drip?duration=1", "/stream/3"]
    + ["/range/99", "/redirect/2", "/etag/x", "/gzip", "/h", "/basic-auth/a/b", "*"]
    + ["/\xe9?a=%ff", "/bytes/1e9", "/" + "x" * 1100, "http://x/ip", "/headers"]
)
_starts = st.builds(
    "{} {} {}{}".format,
    st.sampled_from(["GET", "HEAD", "POST", "get", "CONNECT", "TRACE", "", "A B"]),
    _targets,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.9", ""]),
    st.sampled_from(["\r\n", "\n", "\r"]),
)
_http_lines = st.sampled_from(
    ["Host: x", "host: y", "Content-Length: 5", "Content-Length: 65", "Content-Length: -1"]
    + ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Expect: 100-continue"]
    + ["Expect: x", "Connection: close", "Connection: keep-alive"]
    + ["Accept: text/plain", "Range: bytes=1-5"]
    + [" folded", "no colon", "X: \0", "If-None-Match: *", "Content-Type: multipart/form-data"]
    + ["Content-Type: application/x-www-form-urlencoded", "X-Forwarded-For: y", ""]
)
_contents = st.sampled_from(
    ["", "hello", "5\r\nhello\r\n0\r\n\r\n", "ffffffff\r\n", "x\r\n", "\r\n", "\n\n"]
)
_asking = st.builds(
    lambda start, lines, content: "\r\n".join([start + "Host: x", *lines, "", content]),
    _starts,
    st.lists(_http_lines, max_size=4),
    _contents,
)
_conversations = st.builds(
    lambda size, requests, more: bytes([size]) + "".join(requests).encode() + more,
    st.sampled_from([0, 1, 40, 255]),
    st.lists(_asking, max_size=6),
    st.just(b"") | anything,
)

# Rules

_quoted = st.sampled_from(['"a"', '""', '"AT"', r'"\r\n"', r'"\1"', '"a;b"', '"', r'"\x"'])
_octets = st.sampled_from(["hex 61", "hex 61 ..", "hex ..", "hex", "hex 6"])
_searched = st.sampled_from(["/a/", "/(a+)+$/", r"/(.)(\d*)/", "/(/", "/a{900}/", "/", r"/\//"])
_matched = st.one_of(
    _quoted,
    _octets,
    _searched,
    st.builds("{} {}".format, st.sampled_from(["prefix", "contains"]), _quoted | _octets),
    st.sampled_from(["*", "every 2nd", "every 0th", "idle 1s", "idle 500ms", "idle", "x"]),
)
_actions = st.sampled_from(
    ["close", "reset", "silent", "after 1s", "after 500ms", "after", "times 2", "times x", "x"]
)
_done = st.lists(_quoted | _octets | _actions, max_size=3).map(", ".join)
_ruled = st.builds("{} -> {}".format, _matched, _done) | st.sampled_from(["; a", "# b", "", "->"])
_rules = st.lists(_ruled | _ruled | texts, max_size=MOST_LINES).map("\n".join).map(str.encode)
_said = st.sampled_from([b"a", b"a\n", b"AT\r\n", b"aaaa\n" * 20, b"\xff", b"", b"a" * 300 + b"!"])
_dialogs = st.builds(
    lambda rules, said: b"\0".join([rules, *said]),
    _rules,
    st.lists(_said | st.sampled_from([b"+", b"++", b"+++", b"more", b"end"]), max_size=MOST_LINES),
)

# WebSocket

_frames = st.builds(
    lambda opcode, payload, fin, rsv, key: frame(opcode, payload, fin, rsv, key),
    st.sampled_from([0, 0, 1, 2, 8, 9, 10, 3, 15]),
    st.sampled_from([b"", b"hello", bytes(200), b"\xce", b"\xba", b"\x03\xe8bye", b"\x03"])
    | st.sampled_from([deflate(b"x" * 250), deflate(bytes(9999)), b"\xff\xff"])
    | st.binary(max_size=20),
    st.sampled_from([True, True, False]),
    st.sampled_from([0, 0, 4, 1]),
    st.sampled_from([b"\x12\x34\xab\xcd", bytes(4), b"\x12\x34\xab\xcd", None]),
)
_messages_of_frames = st.builds(
    lambda size, frames, more: bytes([size]) + b"".join(frames) + more,
    st.sampled_from([0, 1, 40, 255]),
    st.lists(_frames, max_size=12),
    st.just(b"") | st.binary(max_size=30),
)

_browsing = st.builds(
    lambda size, requests: bytes([size]) + b"".join(requests),
    st.sampled_from([0, 1, 40, 255]),
    st.lists(
        st.builds(
            lambda method, target, host, more, body: b"%s %s HTTP/1.1\r\nHost: %s\r\n%s"
            b"Content-Length: %d\r\n\r\n%s"
            % (method, target, host, b"".join(more), len(body), body),
            st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS"]),
            st.sampled_from(
                [b"/", b"/page.js", b"/events", b"/events?attend=1&show=1", b"/events?show=%ff",
                 b"/history?service=shout", b"/history?%00", b"/command", b"/command", b"//"]
            ),
            st.sampled_from([b"localhost", b"127.0.0.1:9155", b"[::1]", b"evil.example", b""]),
            st.lists(
                st.sampled_from(
                    [b"Content-Type: application/json\r\n", b"Content-Type: text/plain\r\n",
                     b"Origin: http://evil.example\r\n", b"Sec-Fetch-Site: cross-site\r\n",
                     b"X-Socketd-Token: x\r\n", b"X-Socketd-Name: \x1b\r\n", b"Cookie: a=b\r\n",
                     b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]
                ),
                max_size=3,
            ),
            st.sampled_from(
                [b"", b"{}", b'{"command": "web"}', b'{"command": "show", "id": 1}',
                 b'{"command": "reset", "id": 1}', b'{"command": "connections"}', b"[" * 99,
                 b'{"command": "reply", "id": 1, "data": "AP8="}', b"\xff", b"bans"]
            ),
        ),
        max_size=5,
    ),
)

# Network Time Security

_record_kinds = st.sampled_from([0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 99, 1024])
_record_bodies = st.sampled_from([b"", b"\0", b"\0\0", b"\0\x0f", b"\0\x1e\0\x0f", b"a.example"])
_nts_records = st.builds(record, _record_kinds, _record_bodies | st.binary(max_size=9))
_nts_requests = st.lists(_nts_records | st.sampled_from([USUAL, USUAL[:12], END]), max_size=8)
#: A response with a cookie, without its end.
GIVEN = record(1, b"\0\0") + record(4, b"\0\x0f", False) + record(5, bytes(100), False)

_nts_responses = st.lists(_nts_records | st.sampled_from([GIVEN, GIVEN + END, END]), max_size=8)
_field_kinds = st.sampled_from([0x0104, 0x0204, 0x0304, 0x0404, 0x7777])
_field_sizes = st.sampled_from([0, 8, 12, 28, 32, 36, 96, 100, 104])
_nts_fields = st.builds(lambda kind, size: ef(kind, bytes(size)), _field_kinds, _field_sizes)
_nts_fields |= st.binary(max_size=12)

#: What each target is given, besides anything at all.
#: What a worker sends: JSON of the right kind, more or less.
_plain = st.none() | st.integers(-2, 10**19) | st.floats() | st.booleans() | texts
_nested = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "ok", "rows", "columns", "text", "error", "status", "units", "id", "service", "peer",
        "said", "asked", "until", "services", "counters", "waiting", "lag", "more", "answer",
    ]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
_about = st.sampled_from(["event", "log", "queue", "ping"])
_values = st.dictionaries(
    st.sampled_from(
        ["name", "logged", "facts", "level", "text", "traceback", "count", "oldest", "answer"]
    ),
    _nested,
)
_frames = (
    st.fixed_dictionaries({"about": _about, "values": _values})
    | st.fixed_dictionaries({"answer": st.integers(0, 12), "values": _values | _nested})
    | st.fixed_dictionaries({"answer": st.integers(0, 12), "error": texts})
).map(lambda frame: json.dumps(frame).encode())

SHAPES: dict[str, Bytes] = {
    "workers": st.lists(_frames | anything, max_size=4).map(b"\n".join),
    "ini": _sound | configurations,
    "reload": st.tuples(_sound | configurations, _sound | configurations).map(b"\0".join),
    "arguments": arguments,
    "listen": listeners.map(str.encode),
    "import": superservers.map(str.encode),
    "networks": networks.map(str.encode),
    "numbers": numbers.map(str.encode),
    "profile": profiles.map(str.encode),
    "values": st.builds(lambda which, value: bytes([which]) + value.encode(),
                        st.integers(0, 255), values),
    "ipsla": _ipsla | anything,
    "ntp": st.tuples(_clocks, _requests).map(b"".join),
    "stamp": st.builds(
        lambda flags, length, tlvs: bytes([flags]) + bytes(length) + b"".join(tlvs),
        st.integers(0, 127),
        st.sampled_from([14, 43, 44, 112]),
        st.lists(_tlvs, max_size=6),
    ),
    "nts_ke": _nts_requests.map(b"".join),
    "nts_client": _nts_responses.map(b"".join) | st.lists(_nts_fields, max_size=6).map(b"".join),
    "nts": st.tuples(
        st.integers(0, 255).map(lambda number: bytes([number])),
        st.lists(_nts_fields, max_size=6).map(b"".join),
    ).map(b"".join),
    "proxy": headers,
    "escaped": st.binary(max_size=600) | st.text(max_size=400).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
    "control_messages": _messages,
    "framing": st.builds(
        lambda most, body: bytes([most]) + body,
        st.sampled_from([0, 1, 7, 255]),
        st.lists(
            st.sampled_from([b"\n", b"a", b"\r\n", b"ab" * 9, b"\x03", b"\0", b"\0\1", b"\xff"])
        ).map(b"".join),
    ),
    "record": st.builds(
        lambda ending, said: bytes([ending]) + b"~".join(said),
        st.integers(0, 2),
        st.lists(st.sampled_from([b"a\n", b"a\r\n", b"\n", b"b", b"\"\\; #", b"\0\xff", b""])),
    ),
    "answers": st.builds(
        lambda which, times, message: bytes([which, times]) + message,
        st.integers(0, 255),
        st.integers(0, 255),
        st.sampled_from([b"\n", b"a\n", b"a", b"\r\n", b"ab" * 9, b"x" * 4096 + b"\n"]),
    ),
    "quotes": quotes,
    "certificates": certificates,
    "console": console,
    "keys": _steps,
    "daemon": _sayings,
    "rules": _dialogs,
    "conversations": _dialogs,
    "faults": st.tuples(
        st.integers(0, 2 ** (1 + len(CHOICES)) - 1).map(lambda bits: bits.to_bytes(2, "big")),
        st.binary(max_size=300),
    ).map(b"".join),
    "batches": _datagrams,
    "http": _conversations,
    "websocket": _messages_of_frames,
    "page": _browsing,
}


def shape(name: str) -> Bytes:
    """Give the bytes for a target."""
    return SHAPES[name] | anything
