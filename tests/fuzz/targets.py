"""Parsers of foreign bytes: each target takes any bytes, and raises if a promise is broken."""

from __future__ import annotations

import binascii
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import Any
from unittest import mock

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from socketd.access.addresses import packed
from socketd.access.networks import Networks
from socketd.access.policy import Deadlines
from socketd.cli.common.pem import load_certificates
from socketd.cli.migrate import inetd, xinetd_services
from socketd.cli.migrate.command import is_xinetd
from socketd.cli.migrate.ini_writer import join, write
from socketd.cli.migrate.model import Findings
from socketd.cli.migrate.xinetd_files import Reader
from socketd.cli.record.recording import CLOSE, RESET, SILENCE, Recording
from socketd.cli.system.development_ca import CLIENT, issue, load_authority, utc
from socketd.cli.system.serve_arguments import Sections
from socketd.cli.transport import tls
from socketd.cli.transport.tls_options import ClientTlsOptions
from socketd.common.errors import CommandError
from socketd.common.system_clock import ClockState
from socketd.common.text import SHOWN_BYTES, escaped
from socketd.control.commands import execute
from socketd.control.results import JSON, TEXT, error_answer
from socketd.daemon.daemon import Daemon
from socketd.faults.service_faults import ServiceFaults
from socketd.net.addresses import describe, host_of, to_address
from socketd.net.datagram.cmsg import IPV4, IPV6, arrival, control_messages, ip_header
from socketd.net.proxy.header import MAX_V2, HeaderError, HeaderParser
from socketd.net.sockets.bind import resolve
from socketd.net.sockets.conflicts import conflicts
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.write_buffer import LOST_FAILURE
from socketd.net.tls.certificates import names_of
from socketd.net.tls.context import ServerContext
from socketd.protocols.clock.ntp_answer import NtpOptions, answer
from socketd.protocols.clock.ntp_time import LENGTH
from socketd.protocols.frames import Chunks, Framing, MessageTooLong, parse_framing
from socketd.protocols.messages.qotd import MAX_QUOTE, parse_quotes
from socketd.protocols.registry import installed
from socketd.settings import load as loading
from socketd.settings.diagnostics import Diagnostic, SettingsError
from socketd.settings.diff import differences
from socketd.settings.faults.profile import FaultOptions, FaultProfile
from socketd.settings.faults.values import MAX_SECONDS, as_written
from socketd.settings.ini import read_file
from socketd.settings.listener_syntax import (
    MAX_PATH,
    meant,
    parse_control,
    parse_http,
    parse_listener,
)
from socketd.settings.listeners import Listener, bind_address
from socketd.settings.load import assemble
from socketd.settings.model import (
    AccessOptions,
    DaemonOptions,
    ServiceOptions,
    Settings,
    SocketOptions,
)
from socketd.settings.networks import is_public, parse_networks
from socketd.settings.options import Option, declared
from socketd.settings.tls import NamedCertificate, TlsOptions
from socketd.settings.value_types import parse_duration, parse_rate, parse_size
from tests.cli.record.replay import Replay, configuration_of
from tests.control.fakes import FakeConnection, FakeOperatorSession, connect, make_daemon
from tests.fuzz.batches import check_batches
from tests.fuzz.connections import World
from tests.fuzz.faulty_datagrams import check_faults
from tests.fuzz.ipsla import check_ipsla
from tests.fuzz.nts import check_nts, check_nts_client, check_nts_ke
from tests.fuzz.operators import check_daemon, check_keys
from tests.fuzz.page import check_page
from tests.fuzz.rules import check_conversations, check_rules
from tests.fuzz.stamp import check_stamp
from tests.fuzz.web import check_http, check_websocket
from tests.fuzz.workers import check_workers
from tests.protocols.fakes import make_stream
from tests.support.certificates import NOW, PRIVATE_MODE
from tests.support.sockets import make_pair

RUNTIME = "/run/fuzz"

#: Where every command's effect has had its turn (seconds).
LATER = 1000.0

#: The longest text that a byte becomes: C{\\xNN}; and the count behind a cut text.
SHOWN_BYTE = 4
CUT = len("... (4294967296 bytes)")

#: What one connection may hold (bytes), with one more receive and its answers.
MOST_HELD = 256 * 1024

#: What answers messages, and how.
SERVED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ack", {"framing": "line", "operator": "never"}),
    ("ack", {"framing": "chunk", "operator": "never", "max_message": 1}),
    ("ack", {"framing": "line", "operator": "never", "reply": b"x" * 4096}),
    ("reply", {"framing": "line", "reply": b"I am a server"}),
    ("echo", {}),
    ("upper", {}),
    ("discard", {}),
    ("chargen", {}),
    ("daytime", {}),
    ("reply", {"framing": "length:1", "reply": b"I am a server"}),
    ("http", {}),
)

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END")
_NTP = struct.Struct("!qqbBd")
_KINDS: tuple[Callable[[str], float], ...] = (parse_duration, parse_rate, parse_size)


@cache
def _memory() -> int:
    return os.memfd_create("fuzz")


def file_of(content: bytes) -> str:
    """
    Make a file that is nowhere on a disk.

    @return: its path; the next call has another content there.
    """
    memory = _memory()
    os.fchmod(memory, PRIVATE_MODE)
    os.ftruncate(memory, 0)
    os.pwrite(memory, content, 0)
    return f"/proc/self/fd/{memory}"


def text_of(data: bytes) -> str:
    """Give the text of bytes; what is no UTF-8 becomes replacement characters."""
    return data.decode("utf-8", "replace")


# Settings


def read_settings(content: bytes) -> Settings | None:
    """Read a configuration: it is right, or every complaint is a line that names it."""
    path = file_of(content)
    try:
        found = loading.parse(read_file(path), path, installed(), RUNTIME)
    except SettingsError as problem:
        check_complaints(path, problem.diagnostics)
        return None
    check_settings(found)
    return found


def check_complaints(path: str, diagnostics: Iterable[Diagnostic]) -> None:
    """See that each complaint is a line that names the file, and fit for a terminal."""
    lines = [str(complaint) for complaint in diagnostics]
    assert lines
    for line in lines:
        assert line.startswith(path), line
        assert line.isprintable(), ascii(line)


def check_settings(settings: Settings) -> None:
    """See that what was accepted can be bound, or refused; and compared."""
    assert settings.services
    assert differences(settings, settings) == ()
    for complaint in conflicts(settings):
        assert complaint.line and str(complaint).isprintable(), complaint
    for service in settings.services:
        assert hash(service.policy.source_prefix) is not None
        for listener in service.listeners:
            check_listener(listener)


def check_listener(listener: Listener) -> None:
    """See that a listener has a place, without going there."""
    assert str(listener)
    if listener.is_inherited:
        return
    assert bind_address(listener)
    if listener.path:
        path = os.fsencode(listener.path)
        assert b"\0" not in path and len(path) <= MAX_PATH
        return
    with mock.patch.object(socket, "getaddrinfo", _numbers_only):
        try:
            resolve(listener)
        except OSError:
            return


_getaddrinfo: Any = socket.getaddrinfo


def _numbers_only(*arguments: Any, flags: int = 0) -> Any:
    """Resolve without asking a name server."""
    return _getaddrinfo(*arguments, flags=flags | socket.AI_NUMERICHOST)


def check_ini(data: bytes) -> None:
    """Any file is a configuration, or complained of."""
    read_settings(data)


def check_reload(data: bytes) -> None:
    """What changes from one configuration to another is said in lines; in both directions."""
    old, _, new = data.partition(b"\0")
    found = [settings for settings in map(read_settings, (old, new)) if settings is not None]
    for before, after in pairwise([*found, *found[:1]]):
        for line in differences(before, after):
            assert line.isprintable(), ascii(line)


def check_profile(data: bytes) -> None:
    """
    Any section is a fault profile, or complained of; a good one reads the same when it is
    written as it is shown, and what it draws is within its bounds.
    """
    profile = read_profile(data)
    again = profile and read_profile(written(profile))
    if again:
        twice = read_profile(written(again))
        assert twice and twice.describe() == again.describe()
        check_draws(ServiceFaults(again, "echo"))


def read_profile(section: bytes) -> FaultProfile | None:
    """Read a profile of a service with streams and datagrams."""
    begin = b"[echo]\nlisten = tcp:7, udp:7\nfault = x\n[fault:x]\n"
    found = read_settings(begin + section)
    return None if found is None else found.faults["x"]


def written(profile: FaultProfile) -> bytes:
    """Write a profile as its options are shown."""
    given = profile.options.given(tuple(declared(FaultOptions)))
    plain = ("seed", "first", "skip")
    lines = (f"{n} = {v if n in plain else as_written(v)}\n" for n, v in given.items())
    return "".join(lines).encode()


def check_draws(faults: ServiceFaults) -> None:
    """See that delays, sizes and datagrams are within their bounds."""
    options = faults.profile.options
    for _ in range(3):
        stream, datagram = faults.draw_connection(), faults.draw_datagram("192.0.2.1")
        if stream is not None:
            assert 0 <= stream.next_delay() <= MAX_SECONDS
            if options.slice is not None:
                assert options.slice.low <= stream.next_slice() <= options.slice.high
        if datagram is not None:
            assert datagram.faults and 0 <= datagram.delay <= MAX_SECONDS
            assert len(datagram.corrupt(datagram.truncate(b"12345678"))) <= 8


def check_listen(data: bytes) -> None:
    """Any text is a listener, or refused with a sentence; what that says to write is right."""
    text = text_of(data).replace("\0", "")
    for parse in (parse_listener, parse_http, parse_control):
        try:
            found = parse(text, RUNTIME)
        except ValueError as problem:
            assert str(problem)
        else:
            check_listener(found)
    right = meant(text, RUNTIME)
    if right and len(text.split()) == 1:
        for one in right.split(" or "):
            check_listener(parse_listener(one, RUNTIME))


class NoFiles(Reader):
    """Reads nothing that is included: it is not there."""

    def lines(self, path: str) -> list[str]:
        raise ValueError("cannot be read")

    def names(self, directory: str) -> list[str]:
        raise ValueError("cannot be read")


def read_superserver(lines: list[str]) -> Findings:
    """Read a file of xinetd or inetd."""
    findings = Findings()
    if is_xinetd(lines):
        reader = NoFiles(findings)
        reader.read_file("FILE", lines)
        xinetd_services.find(reader)
    else:
        inetd.read(lines, "FILE", findings)
    return findings


def check_import(data: bytes) -> None:
    """
    Any file of a super-server becomes a configuration that loads; and for xinetd's, which is
    read without case, the same one from words that are shouted.
    """
    lines = text_of(data).split("\n")
    findings = read_superserver(lines)
    served = findings.services
    for note in findings.notes:
        assert str(note).isascii() and str(note).isprintable(), ascii(note)
    if served:
        text = write(findings, join(served))
        loading.parse(text, "FILE", installed(), RUNTIME, conflicts)
    if is_xinetd(lines):
        again = read_superserver([_shouted(line) for line in lines])
        assert _outcome(findings) == _outcome(again), (findings, again)


def _outcome(findings: Findings) -> tuple[Any, ...]:
    served = [(one.name, one.options, one.addresses) for one in findings.services]
    return served, findings.off


def _shouted(line: str) -> str:
    word = re.match(r"\s*([a-z_]+)(?=\s|$)", line)
    return line if word is None else line[: word.end()].upper() + line[word.end() :]


def check_arguments(data: bytes) -> None:
    """
    Any arguments, between null characters, are a configuration on loopback but for what names an
    interface, or every complaint is a line.
    """
    found = Sections(list(map(os.fsdecode, data.split(b"\0"))), installed())
    try:
        sections = found.sections()
        made = assemble(sections, found.diagnostics, "", installed(), RUNTIME, is_local=True)
    except SettingsError as problem:
        check_complaints("", map(found.named, problem.diagnostics))
        return
    (service,) = made.services
    for listener in service.listeners:
        assert listener.interface or listener.path or listener.is_inherited


def check_networks(data: bytes) -> None:
    """Any text is networks, or refused; networks can be written, and read again."""
    try:
        found = parse_networks(text_of(data))
    except ValueError as problem:
        assert str(problem)
        return
    assert parse_networks(" ".join(map(str, found))) == found
    admits = Networks(found, ()).admits
    for network in found:
        is_public(network)
        assert admits(packed(str(network.network_address)))
        assert admits(packed(str(network.broadcast_address)))
        assert not Networks(found, found).admits(packed(str(network[0])))


def check_numbers(data: bytes) -> None:
    """Any text is a duration, a rate, a size, or none; no number is infinite or negative."""
    for parse in _KINDS:
        try:
            number = parse(text_of(data))
        except ValueError as problem:
            assert str(problem)
        else:
            assert isfinite(number) and number >= 0


@cache
def options() -> tuple[Option, ...]:
    """List every option that there is."""
    classes = [DaemonOptions, ServiceOptions, AccessOptions, SocketOptions, TlsOptions]
    classes += [declaration.options for declaration in installed().values()]
    return tuple(option for one in classes for option in declared(one).values())


def check_values(data: bytes) -> None:
    """
    Any text is a value of an option, or refused with a sentence; the first byte says
    which option.
    """
    if data:
        option = options()[data[0] % len(options())]
        try:
            option.type.parse(text_of(data[1:]).replace("\0", ""))
        except ValueError as problem:
            assert str(problem)


# What peers send


def check_ntp(data: bytes) -> None:
    """
    Any packet has one answer of 48 bytes, or none; it is never longer than the packet.

    In front stand the time, how long the answer took, and the state of the clock.
    """
    if len(data) < _NTP.size:
        return
    received, took, precision, flags, error = _NTP.unpack_from(data)
    request = data[_NTP.size :]
    if not isfinite(error):
        return
    state = ClockState(
        synchronised=bool(flags & 1),
        leap=flags >> 1 & 3,
        max_error=error,
        precision=-(abs(precision) % 31),
        stepped=bool(flags & 8),
        read_at=received / 1e9 if flags & 16 else 0.0,
    )
    found = answer(
        request,
        received,
        lambda: received + took,
        state,
        NtpOptions(assume_synchronised=bool(flags & 32)),
    )
    if found is not None:
        check_answer(request, found)


def check_answer(request: bytes, found: bytes) -> None:
    """See that a client can take an answer for one to its request."""
    assert len(found) == LENGTH <= len(request)
    sent = request[40:48]
    assert found[24:32] == sent
    assert found[0] & 7 == {1: 2, 3: 4}[request[0] & 7]
    assert found[0] & 0o70 == request[0] & 0o70
    times = found[32:40], found[40:48]
    assert len({bytes(8), sent, *times}) == (3 if sent == bytes(8) else 4), times


def read_header(pieces: Iterable[bytes]) -> tuple[Any, bytes]:
    """
    Feed pieces to a parser.

    @return: the header, or why it is none; and what stands behind.
    """
    parser = HeaderParser()
    header, rest = None, b""
    for piece in pieces:
        if header is not None:
            rest += piece
            continue
        try:
            header = parser.feed(piece)
        except HeaderError as problem:
            return str(problem), b""
        rest = parser.rest
        assert len(parser._buffer) <= MAX_V2
    return header, rest


def check_proxy(data: bytes) -> None:
    """
    Any bytes are a PROXY header, the beginning of one, or refused: the same however
    they are cut.
    """
    whole = read_header([data])
    assert read_header(data[at : at + 1] for at in range(len(data))) == whole
    half = len(data) // 2
    assert read_header([data[:half], data[half:]]) == whole
    header = whole[0]
    if isinstance(header, str) or header is None or header.source is None:
        return
    family, source = header.family, header.source
    if family != socket.AF_UNIX:
        source = (*source, 0, 0) if family == socket.AF_INET6 else source
        assert packed(str(source[0]))
    assert to_address(family, socket.SOCK_STREAM, source) is not None
    assert describe(family, source).isprintable() and host_of(family, source)


def check_escaped(data: bytes) -> None:
    """Any bytes become one printable line of a bounded length."""
    text = escaped(data)
    assert text.isprintable()
    assert len(text) <= SHOWN_BYTE * SHOWN_BYTES + CUT
    text.encode()


def check_control_messages(data: bytes) -> None:
    """Whatever stands beside a datagram is taken apart without an error."""
    buffer = memoryview(bytearray(data))
    found = list(control_messages(buffer))
    assert sum(len(message.data) for message in found) <= len(data)
    arrival(buffer)
    ip_header(buffer)
    for pktinfo in (IPV4, IPV6):
        info = pktinfo.find(buffer)
        if info is not None:
            pktinfo.destination(info)
            pktinfo.answer_from(info)


#: Framings whose messages say where they end.
_FRAMINGS = (
    "line", r"delimiter:\x03", r"delimiter:\r\n", "fixed:1", "fixed:5",
    "length:1", "length:2", "length:2:little", "length:4", "length:2:at=4",
)  # fmt: skip


def check_framing(data: bytes) -> None:
    """
    Messages are all that came, in order; none is too long, and what says where it ends is
    the same however it is cut. The first byte is the longest message.
    """
    if not data:
        return
    most, body = data[0] + 1, data[1:]
    chunks = list(Chunks(most).feed(body))
    assert b"".join(chunks) == body and all(0 < len(chunk) <= most for chunk in chunks)
    for text in _FRAMINGS:
        make = parse_framing(text)
        whole = list(_messages(make(most), [body]))
        pieces = [body[at : at + 1] for at in range(len(body))]
        assert list(_messages(make(most), pieces)) == whole, text
        assert b"".join(whole) == body[: sum(map(len, whole))], text
        assert all(0 < len(message) <= max(most, 5) for message in whole), text


def _messages(framing: Framing, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        for piece in pieces:
            yield from framing.feed(piece)
        yield from framing.end()
    except MessageTooLong:
        return


def check_record(data: bytes) -> None:
    """
    Whatever was said, the configuration that is written of it can be read, and answers the same
    client the same way. The first byte says how the server ended; C{~} stands between what the
    server said, then the client, and so on.
    """
    recording = Recording()
    for place, said in enumerate(data[1:].split(b"~")):
        if said:
            (recording.asked if place % 2 else recording.answered)(said)
    if ending := ("", CLOSE, RESET)[data[0] % 3 if data else 0]:
        recording.ended(ending)
    replay = Replay(configuration_of(recording))
    assert replay.wire.taken() == recording.greeting
    for turn in recording.turns:
        found = replay.say(bytes(turn.question))
        assert found == turn.answer, (turn, found)
    replay.clock.advance(SILENCE)
    assert replay.wire.disconnecting == bool(ending)


def check_answers(data: bytes) -> None:
    """
    However short its messages, a peer that does not read has a connection hold no more
    than what is promised. The first byte says what serves, the second how often the rest
    comes; all at once.
    """
    if len(data) < 3:
        return
    name, options = SERVED[data[0] % len(SERVED)]
    message = data[2:] * (1 << data[1] % 17)
    world = World(Deadlines())
    ours, peer = make_pair(False, True)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MOST_HELD)
    connection = StreamConnection(world.reactor, ours, "", world.service_state, world.slot())
    connection.begin(make_stream(name, **options))
    try:
        for _ in range(3):
            with suppress(BlockingIOError):
                peer.send(message[:MOST_HELD])
            world.reactor.turn(2)
            assert connection._buffered <= MOST_HELD, connection._buffered
    finally:
        peer.close()
        connection.connectionLost(LOST_FAILURE)
    world.check_problems()
    world.check_balance()


# Files and lines of the operator


def check_quotes(data: bytes) -> None:
    """Any file holds quotes that fit, or is complained of."""
    try:
        quotes = parse_quotes(file_of(data))
    except ValueError as problem:
        assert str(problem).isprintable()
        return
    assert quotes
    for quote in quotes:
        assert len(quote) <= MAX_QUOTE and quote.endswith(b"\r\n")
        assert quote.decode().strip("\r\n")


class Known(FakeConnection):
    """A connection whose peer is known to the access policy."""

    source = (socket.AF_INET, ("192.0.2.7", 4711))


def console_daemon() -> Daemon:
    """Make a daemon with two connections that wait for a word, and log nothing."""
    daemon = make_daemon()
    daemon.event_bus.level = LogLevel.critical
    with mock.patch("tests.control.fakes.FakeConnection", Known):
        for port in (50001, 50002):
            connect(daemon, peer=f"192.0.2.7:{port}").receive(b"hello")
    return daemon


def check_certificates(data: bytes) -> None:
    """
    Any file is the certificates and the key of a server, of its authorities and of a
    client, or refused with a line for each option; whatever OpenSSL takes of it can be
    told to people.
    """
    path = file_of(data)
    named = NamedCertificate("a.example", path, path)
    options = TlsOptions(tls_certificate=path, tls_client_ca=path, tls_names=(named,))
    context = ServerContext(options, lambda: NOW)
    for _, line in [*context.load(), *context.invalid()]:
        assert line and line.isprintable(), ascii(line)
    check_client(path)
    for _, der in blocks(data):
        with suppress(crypto.Error):
            found = crypto.load_certificate(crypto.FILETYPE_ASN1, der)
            assert tls._about(found, NOW).isprintable()


def check_client(path: str) -> None:
    """See that what a command reads of a file is of use, or refused with a line."""
    options = ClientTlsOptions("a.example", authorities=path, certificate=path, key=path)
    reads: tuple[Callable[[], Any], ...] = (
        lambda: tls.load(options),
        lambda: [names_of(one) for one in load_certificates(path)],
        lambda: issue(load_authority(path, path, utc(NOW)), [CLIENT], utc(NOW), 1, True),
    )
    for read in reads:
        try:
            read()
        except CommandError as problem:
            assert str(problem).isprintable(), ascii(str(problem))


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """List what stands in a file of PEM: each label, and the bytes."""
    for label, text in _BLOCK.findall(data):
        with suppress(binascii.Error):
            yield label, binascii.a2b_base64(text)


def check_console(data: bytes) -> None:
    """Any line is carried out, or refused with one line; both can be shown."""
    daemon = console_daemon()
    # What a command changes in the daemon itself is undone: the level is one of all.
    for line in data.split(b"\n"):
        outcome: list[Any] = []
        typed = line.decode("utf-8", "surrogateescape")
        done = Deferred.fromCoroutine(execute(daemon, typed, FakeOperatorSession()))
        done.addBoth(outcome.append)
        assert len(outcome) == 1, "no answer"
        check_outcome(outcome[0])
    daemon.reactor.advance(LATER)


def check_outcome(outcome: Any) -> None:
    """See that a reply, or why there is none, can be shown."""
    if isinstance(outcome, Failure):
        if not isinstance(outcome.value, CommandError):
            outcome.raiseException()
        assert str(outcome.value).isprintable(), ascii(str(outcome.value))
        answer = error_answer(outcome.value)
    else:
        answer = outcome.answer
    text = TEXT.write(answer)
    assert text and text.replace("\n", "").isprintable()
    assert JSON.write(answer).isprintable()


#: Takes any bytes; raises if a promise is broken.
Check = Callable[[bytes], None]

_CHECKS: tuple[Check, ...] = (
    check_ini, check_reload, check_listen, check_import, check_networks, check_numbers,
    check_values, check_ntp, check_proxy, check_escaped, check_control_messages, check_framing,
    check_answers, check_quotes, check_certificates, check_console, check_keys, check_daemon,
    check_faults, check_profile, check_http, check_websocket, check_rules, check_conversations,
    check_arguments, check_record, check_page, check_stamp, check_nts_ke, check_nts, check_ipsla,
    check_nts_client, check_batches, check_workers,
)  # fmt: skip

#: Each check by its name, which is that of the folder of its corpus.
TARGETS = {check.__name__.removeprefix("check_"): check for check in _CHECKS}
