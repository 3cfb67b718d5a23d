"""Any order of what a TLS client and the protocol can do to a connection."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from functools import cache, partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from OpenSSL import SSL

from socketd.access.policy import Deadlines
from socketd.net.layers import wrap_factory
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE
from socketd.net.timer_wheel import TICK
from socketd.net.tls.context import ServerContext
from socketd.protocols.registry import installed
from socketd.settings.faults.profile import WIRE
from socketd.settings.load import parse
from socketd.settings.model import ServiceSettings
from tests.fuzz.connections import Actor, ConnectionMachine, HalfActor, World, pattern
from tests.fuzz.stream_faults import places, profiles
from tests.support.certificates import NOW, client_context, issued
from tests.support.fakes import OneFactory
from tests.support.sockets import make_pair
from tests.support.tls_records import ALERT, DATA, RecordWriter, logging_context

HEADER = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 7\r\n"

#: Turns in which a handshake is over and a client that reads has all that it is owed.
PATIENCE = 400

#: Turns in which a handshake is done.
HANDSHAKE = 12

#: One of so many machines, about, meets with what ends a connection at once.
RARE = 12

#: The longest that a client takes at a time: a record and some of the next.
PIECE = 20000

#: The longest plain text of a record (RFC 8446, 5.1).
MAX_RECORD = 16 * 1024

HARM = ("garbage", "end", "close")

LIMITS = Deadlines(idle=8.0, stall=3.0, handshake=4.0)

INI = """
[echo]
listen = {listen}
tls_certificate = {path}
"""

sizes = st.sampled_from([0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 100_000]) | st.integers(0, 100_000)
acts = st.one_of(
    st.tuples(st.just("write"), sizes),
    st.tuples(st.just("write and lose"), sizes),
    st.tuples(st.sampled_from(["abort", "raise", *["nothing"] * 4])),
    st.tuples(st.sampled_from(["lose", "pause", "resume", "resume", "nothing"])),
)


@cache
def service(listen: str) -> tuple[ServiceSettings, Any]:
    """Read a service, and make its context; once for all machines."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, True)
    path = os.path.join(folder, "server.pem")
    made = issued("www.example.org")
    made.write(path)
    text = INI.format(listen=listen, path=path)
    if listen.startswith("haproxy"):
        text += "proxy_from = loopback\n"
    (found,) = parse(text, "fuzz.ini", installed(), "/run").services
    context = ServerContext(found.tls, lambda: NOW, lambda: 0.0)
    assert context.load() == []
    return found, context


@cache
def trusting() -> SSL.Context:
    """Make the context of the clients."""
    return logging_context(client_context())


class SecureMachine(ConnectionMachine):
    """
    One connection with TLS, and what may happen to it.

    @ivar ended: how the client saw its end, in the order of the layers.
    @ivar broken: whether the client sent what is no TLS.
    @ivar writer: what writes the client's records once it has changed its keys, which its
        library does not.
    @ivar records: how many its library has written.
    """

    @initialize(
        proxied=st.booleans(),
        half=st.booleans(),
        small=st.booleans(),
        made=acts | st.just(("nothing",)),
        turns=st.sampled_from([0, HANDSHAKE, HANDSHAKE]),
        profile=profiles,
        at=places,
    )
    def begin(
        self,
        proxied: bool,
        half: bool,
        small: bool,
        made: Any,
        turns: int,
        profile: Any = None,
        at: str = WIRE,
    ) -> None:
        """Accept the connection, and have the client begin its handshake."""
        self.world = World(LIMITS)
        ours, self.peer = make_pair(False, small)
        self.reset_counts()
        self.ended: list[str] = []
        self.broken = self.client_ended = False
        self.writer: RecordWriter | None = None
        self.records = 0
        self.waiting = bytearray(HEADER if proxied else b"")
        self.actor = (HalfActor if half else Actor)({"made": partial(self.do, made)})
        self.actor.may_receive = self.may_receive
        found, context = service("haproxy:tls:0" if proxied else "tls:0")
        layers = (OneFactory(lambda: self.actor), found.listeners[0], found, context)
        factory, terms = wrap_factory(*layers, self.world.reactor)
        slot = None if proxied else self.world.slot()
        self.connection = StreamConnection(
            self.world.reactor, ours, "", self.world.service_state, slot
        )
        self.tls = SSL.Connection(trusting())
        self.tls.set_connect_state()
        first, draw = factory.buildProtocol(None), self.take_draw(profile, at)
        self.connection.begin(first, terms.handshaking, not proxied, draw)
        self.both_go(turns)

    def may_receive(self) -> bool:
        """
        Say whether the protocol may be handed bytes: what is decrypted already comes
        also to one that has paused.
        """
        return self.live and not self.actor.transport.disconnecting

    # What the protocol does

    def do_write(self, size: int) -> None:
        """Write, and note whether it has to arrive."""
        transport = self.actor.transport
        binding = self.live and not transport.disconnecting
        transport.write(pattern(self.written, size))
        self.written += size
        if binding:
            self.owed = self.written

    # What may happen

    @rule(act=acts)
    def protocol_acts(self, act: Any) -> None:
        """The protocol does something by itself."""
        self.do_at_once(act)

    @rule(call=st.sampled_from(["data", "read", "lost"]), act=acts)
    def protocol_will_act(self, call: str, act: Any) -> None:
        """The protocol will do something at its next call."""
        self.actor.acts[call] = partial(self.do, act)

    @rule(count=st.integers(1, 6))
    def both_go(self, count: int) -> None:
        """The client and the reactor do what they can."""
        for _ in range(count):
            self.client_flushes(PIECE)
            self.turn_and_wait()
            self.client_reads(PIECE)

    @rule(size=st.integers(1, 400))
    def client_flushes(self, size: int) -> None:
        """The client sends some of what it has encrypted."""
        if "close" in self.ended:
            return
        self._step()
        try:
            while True:
                self.waiting += self.tls.bio_read(65536)
        except SSL.Error:
            pass
        try:
            del self.waiting[: self.peer.send(self.waiting[:size])]
        except OSError:
            pass

    @rule(size=st.integers(1, PIECE))
    def client_reads(self, size: int) -> None:
        """The client takes some of what is there."""
        if {"close", "end", "reset"} & set(self.ended):
            return
        try:
            data = self.peer.recv(size)
        except BlockingIOError:
            return
        except OSError:
            self.ended.append("reset")
            return
        if not data:
            self.ended.append("end")
            return
        self.tls.bio_write(data)
        self._step()

    def _step(self) -> None:
        try:
            self.tls.do_handshake()
            while True:
                data = self.tls.recv(65536)
                assert data == pattern(self.taken, len(data)), "not what was written"
                self.taken += len(data)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            if "close_notify" not in self.ended:
                self.ended.append("close_notify")
        except SSL.Error:
            assert self.broken or self.excused or self.client_ended

    @rule(size=sizes)
    def client_says(self, size: int) -> None:
        """The client encrypts something, once it has its keys."""
        if self.client_ended:
            return
        if self.writer is not None:
            size = min(size, MAX_RECORD)
            self.waiting += self.writer.record(DATA, pattern(self.sent, size))
            self.sent += size
            return
        try:
            self.sent += self.tls.send(pattern(self.sent, size)) if size else 0
        except SSL.Error:
            return
        self.records += size > 0

    @rule(asks=st.booleans())
    def client_changes_keys(self, asks: bool) -> None:
        """The client changes its keys, and may ask for others of the server."""
        if self.writer is None:
            self.client_flushes(0)
            if self.tls.get_app_data() is None or self.broken or self.client_ended:
                return
            self.writer = RecordWriter.of(self.tls, self.records)
        if not self.client_ended:
            self.waiting += self.writer.update(asks)

    @rule()
    def client_ends(self) -> None:
        """The client sends C{close_notify}."""
        if self.writer is not None and not self.client_ended:
            self.waiting += self.writer.record(ALERT, b"\1\0")
        self.client_ended = True
        if self.writer is not None:
            return
        try:
            self.tls.shutdown()
        except SSL.Error:
            pass

    @rule(
        how=st.integers(0, RARE).map(lambda number: HARM[number] if number < len(HARM) else ""),
        garbage=st.binary(min_size=1, max_size=40),
    )
    def client_is_wrong(self, how: str, garbage: bytes) -> None:
        """The client sends what is no TLS, ends the stream below TLS, or goes."""
        self.excused = self.excused or bool(how)
        if how == "garbage":
            self.broken = True
            self.waiting += garbage
        elif how == "end" and "close" not in self.ended:
            self.peer.shutdown(socket.SHUT_WR)
        elif how == "close":
            self.ended.append("close")
            self.peer.close()

    @rule(seconds=st.sampled_from([TICK, 2.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        """Time passes, while the client does nothing."""
        self.note_progress()
        self.quiet += seconds
        if self.quiet >= min(CLOSE_GRACE, LIMITS.stall, LIMITS.handshake):
            self.excused = True
        self.world.reactor.advance(seconds)

    def note_progress(self) -> None:
        """A handshake has its time as a whole."""
        quiet = self.quiet
        super().note_progress()
        if self.connection.handshaking:
            self.quiet = quiet

    def check_connected(self) -> None:
        """Nothing is told before the handshake is done, and what waits is written."""
        assert not self.actor.calls["made"] or not self.connection.handshaking
        waits = self.connection._buffer is not None and self.connection.state.is_alive
        assert not waits or self.connection in self.world.reactor.writers
        self.check_read()

    def check_read(self) -> None:
        """All that can be decrypted has been."""
        tls = self.connection.app_transport and self.connection.app_transport.getHandle()
        if tls is not None and self.live and not self.broken:
            try:
                assert not tls.recv(1, socket.MSG_PEEK), "a record is left"
            except SSL.Error:
                pass

    # The end

    def end(self) -> None:
        """Close, with a client that reads further, and check the counts."""
        self.actor.acts = {}
        if self.excused:
            self.change_fault(None, WIRE)
        if self.live:
            self.do_resume()
            self.do_lose()
        elif self.connection.connected and not self.actor.calls["made"]:
            self.excused = True
            self.connection.abortConnection()
        for _ in range(PATIENCE):
            self.both_go(1)
            if not self.connection.connected or "end" in self.ended:
                break
        self.both_go(2)
        if self.actor.calls["made"] and not self.excused and not self.client_ended:
            assert self.taken >= self.owed, f"{self.owed - self.taken} of {self.owed} are lost"
            assert self.ended == ["close_notify", "end"], self.ended
        if self.connection.connected:
            self.peer.close()
            self.world.reactor.turn(4)
        self.check_ended()
        counts = self.world.counts
        assert counts.get("tls_secured", 0) + counts.get("tls_failed", 0) <= 1
