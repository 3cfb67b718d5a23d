"""Any order of what a peer, a protocol, an operator and the clock can do to a connection."""

from __future__ import annotations

import select
import socket
import struct
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from socketd.access.policy import Deadlines
from socketd.net.proxy.layer import ProxyLayer
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE
from socketd.net.stream.states import LINGERING, READ_OPEN
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.net.timer_wheel import TICK
from socketd.settings.faults.profile import WIRE
from tests.fuzz.connections import (
    Actor,
    HalfActor,
    PullProducer,
    PushProducer,
    ConnectionMachine,
    World,
    pattern,
)
from tests.fuzz.stream_faults import held_by, is_cut, may_be_read, profiles, waits_for_time
from tests.support.fakes import OneFactory
from tests.support.sockets import make_pair

#: Turns of the reactor in which a peer that reads has all that it is owed.
PATIENCE = 2000

#: What ends a connection at once is done once in so many times, about.
RARE = 12

#: How long the kernel may take from one end of a TCP connection to the other (seconds).
KERNEL = 0.2

#: The PROXY headers that come first, cut after some bytes; none for a direct peer.
HEADERS = (
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 7\r\n",
    b"PROXY UNKNOWN\r\n",
    bytes.fromhex("0d0a0d0a000d0a515549540a21110010c00002077f00000112670007" "04000178"),
)

sizes = st.sampled_from([0, 1, 1000, HIGH_WATER, HIGH_WATER + 1, 128 * 1024, 200 * 1024])
sizes |= st.integers(0, 200 * 1024)
acts = st.one_of(
    st.tuples(st.just("write"), sizes),
    st.tuples(st.sampled_from(["lose", "pause", "resume", "half", "push", "unregister"])),
    st.tuples(st.sampled_from(["abort", "raise", *["nothing"] * 6])),
    st.tuples(st.just("write and lose"), sizes),
    st.tuples(st.just("pull"), sizes, st.integers(0, 5)),
)
deadlines = st.sampled_from(
    [
        Deadlines(handshake=4.0),
        Deadlines(first_byte=6.0, idle=8.0, stall=3.0, lifetime=60.0, handshake=4.0),
        Deadlines(stall=10.0, handshake=4.0),
    ]
)
endings = st.sampled_from(["closed", "peer ends", "peer is silent", "aborted", "peer is gone"])


class StreamMachine(ConnectionMachine):
    """
    One connection, and what may happen to it.

    @ivar quiet: for how long (seconds) no byte has left.
    """

    @initialize(
        over_tcp=st.sampled_from([False, False, True]),
        small=st.booleans(),
        half=st.booleans(),
        limits=deadlines,
        ending=endings,
        made=acts | st.just(("nothing",)),
        header=st.sampled_from([b"", b"", *HEADERS]),
        cut=st.integers(1, 60),
        behind=st.sampled_from([0, 0, 1, 3000]),
        profile=profiles,
    )
    def begin(
        self,
        over_tcp: bool,
        small: bool,
        half: bool,
        limits: Deadlines,
        ending: str,
        made: Any,
        header: bytes,
        cut: int,
        behind: int,
        profile: Any = None,
    ) -> None:
        """Accept the connection; a balancer's header comes first, in two pieces."""
        self.world = World(limits)
        self.limits, self.ending, self.over_tcp = limits, ending, over_tcp
        ours, self.peer = make_pair(over_tcp, small and not over_tcp)
        if over_tcp:
            # So that nothing waits for more to send.
            for one in (ours, self.peer):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.header = header
        self.reset_counts()
        self.paused = self.half_closed = self.peer_closed = False
        self.ended = ""
        self.producer: Any = None
        self.actor = (HalfActor if half else Actor)({})
        self.actor.acts["made"] = partial(self.do, made)
        self.actor.may_receive = self.may_receive
        self._accept(ours, header, self.take_draw(profile, WIRE))
        if header:
            self.peer.send(header[:cut])
            self.turns(2)
            self.peer_sends(header[cut:], behind)
            self.turns(2)

    def _accept(self, ours: socket.socket, header: bytes, draw: Any) -> None:
        reactor, service_state = self.world.reactor, self.world.service_state
        slot = None if header else self.world.slot()
        name = ours.getpeername()
        self.connection = StreamConnection(reactor, ours, name, service_state, slot)
        if header:
            layer = ProxyLayer(OneFactory(lambda: self.actor), False)
            self.connection.begin(layer, True, False, draw)
        else:
            self.connection.begin(self.actor, draw=draw)

    @property
    def transport(self) -> Any:
        """The connection, before the protocol has it, too."""
        return self.connection

    def may_receive(self) -> bool:
        """Say whether the protocol may be handed bytes."""
        wanted = not self.paused and not self.connection.disconnecting
        return wanted and self.live and self.connection._buffered <= HIGH_WATER

    # What the protocol does

    def do_write(self, size: int) -> None:
        """Write so many bytes, and note whether they have to arrive."""
        connection = self.connection
        closing = connection.disconnecting or self.half_closed
        held = self.producer is not None and connection._producer_owes()
        binding = self.live and (not closing or (held and self.producer[1]))
        before = connection._buffered
        connection.write(pattern(self.written, size))
        assert connection._buffered <= before + size
        self.written += size
        if binding:
            self.owed = self.written

    def do_half(self) -> None:
        """Shut down writing."""
        self.half_closed = True
        self.connection.loseWriteConnection()

    def do_pause(self) -> None:
        self.paused = True
        super().do_pause()

    def do_resume(self) -> None:
        self.paused = False
        super().do_resume()

    def do_push(self) -> None:
        """Have a producer that writes by itself."""
        self._produce(PushProducer(self.connection, self.do_write), True)

    def do_pull(self, size: int, pieces: int) -> None:
        self._produce(PullProducer(self.connection, self.do_write, size, pieces), False)

    def _produce(self, producer: Any, streaming: bool) -> None:
        if self.connection.producer is None:
            early = not (self.connection.disconnecting or self.half_closed)
            self.producer = producer, early
            was_connected = self.connection.connected
            self.connection.registerProducer(producer, streaming)
            assert was_connected or producer.stopped

    def do_unregister(self) -> None:
        """Let the producer go."""
        self.connection.unregisterProducer()

    # What may happen

    @rule(act=acts)
    def protocol_acts(self, act: Any) -> None:
        """The protocol does something by itself."""
        self.do_at_once(act)

    @rule(call=st.sampled_from(["data", "data", "read", "write", "lost"]), act=acts)
    def protocol_will_act(self, call: str, act: Any) -> None:
        """The protocol will do something at its next call."""
        self.actor.acts[call] = partial(self.do, act)

    @rule(size=sizes)
    def producer_pushes(self, size: int) -> None:
        """A producer that writes by itself does."""
        producer = self.producer and self.producer[0]
        if isinstance(producer, PushProducer) and self.connection.producer is producer:
            producer.push(size)

    @rule(size=sizes)
    def peer_says(self, size: int) -> None:
        """The peer sends what its kernel takes."""
        self.peer_sends(b"", size)

    def peer_sends(self, before: bytes, size: int) -> None:
        """Send as the peer does; C{before}: what comes before the bytes that the protocol sees."""
        try:
            count = self.peer.send(before + pattern(self.sent, size))
        except OSError:
            return
        assert count >= len(before)
        self.sent += count - len(before)

    @rule(size=sizes)
    def peer_reads(self, size: int) -> None:
        """The peer takes some of what is there."""
        self.take(size)

    def take(self, size: int) -> bool:
        """Read as the peer does, and return whether there was something."""
        if self.ended or self.peer_closed or not size:
            return False
        try:
            data = self.peer.recv(size)
        except BlockingIOError:
            return False
        except OSError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "end"
            return False
        assert data == pattern(self.taken, len(data)), "not what was written"
        self.taken += len(data)
        return True

    @rule()
    def peer_shuts_down(self) -> None:
        try:
            self.peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @precondition(lambda self: not self.peer_closed)
    @rule(when=st.integers(0, RARE), reset=st.booleans())
    def peer_closes(self, when: int, reset: bool) -> None:
        """The peer goes at times, with or without a reset."""
        if when:
            return
        self.excused = self.peer_closed = True
        if reset and self.over_tcp:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    @rule(count=st.integers(1, 4))
    def turns(self, count: int) -> None:
        """The reactor turns."""
        self.world.reactor.turn(count)

    @rule(seconds=st.sampled_from([TICK, TICK, 1.0, 2.5]), steps=st.integers(1, 3))
    def time_passes(self, seconds: float, steps: int) -> None:
        """Time passes, while the peer does nothing."""
        self.note_progress()
        self.quiet += seconds * steps
        shortest = min(CLOSE_GRACE, self.limits.stall or CLOSE_GRACE)
        if self.connection.handshaking:
            shortest = min(shortest, self.limits.handshake)
        if self.quiet >= shortest:
            self.excused = True
        for _ in range(steps):
            self.world.reactor.advance(seconds)

    @rule(
        word=st.sampled_from(
            ["drain_and_close", "close", "refuse", *["check", "reapply_policy"] * 4]
        )
    )
    def daemon_acts(self, word: str) -> None:
        """The daemon stops, reloads, or an operator closes."""
        connection = self.connection
        if not connection.connected:
            return
        if word == "check":
            connection.check(self.world.reactor.seconds())
        elif word == "reapply_policy" and not connection.peer_known:
            # Nor does the daemon, before the header is there.
            return
        elif word == "reapply_policy":
            connection.reapply_policy(self.world.slot(), None)
        elif word == "refuse":
            self.excused = True
            connection.reapply_policy(None, "network")
        else:
            getattr(connection, word)()

    # What always holds

    def check_connected(self) -> None:
        """It reads and writes where it has to."""
        if not self.connection.state.is_alive:
            return
        connection, reactor = self.connection, self.world.reactor
        reads, writes = connection in reactor.readers, connection in reactor.writers
        closing, full = connection.disconnecting, connection._buffered > HIGH_WATER
        assert writes or connection._buffer is None
        if not closing:
            wanted = not self.paused and not full and connection.state.read_side == READ_OPEN
            assert reads is (wanted and may_be_read(connection))
        elif not connection._producer_owes():
            lingers = connection.state.phase == LINGERING and connection._grace_ends
            assert writes or lingers or waits_for_time(connection)
        producer = self.producer and self.producer[0]
        if isinstance(producer, PushProducer) and connection.producer is producer:
            waits = held_by(connection) and waits_for_time(connection)
            assert writes or waits or is_cut(connection) or not producer.paused

    # The end

    def end(self) -> None:
        """End in one of the ways there are, and check the counts."""
        self.actor.acts = {}
        if self.excused or self.ending == "peer is silent":
            self.change_fault(None, WIRE)
        if self.live:
            self.connection.unregisterProducer()
            self.do_resume()
            self.world.check_problems()
        getattr(self, "end_" + self.ending.replace(" ", "_"))()
        self.check_ended()
        self._check_counts()

    def end_closed(self) -> None:
        """We close, and the peer reads all."""
        self.connection.loseConnection()
        self._read_on()
        self._peer_goes()

    def end_peer_ends(self) -> None:
        """The peer shuts down writing, and reads all."""
        self.actor.acts["read"] = self.connection.loseConnection
        if self.actor.calls["read"]:
            self.connection.loseConnection()
        if not self.peer_closed:
            self.peer_shuts_down()
        self._read_on()
        self._peer_goes()

    def end_peer_is_silent(self) -> None:
        """We close, and the peer does not read a byte more."""
        self.excused = True
        self.connection.loseConnection()
        self.turns(4)
        for _ in range(int(2 * CLOSE_GRACE / TICK) + 2):
            self.world.reactor.advance(TICK)

    def end_aborted(self) -> None:
        """We reset."""
        self.do_abort()
        self.turns(1)

    def end_peer_is_gone(self) -> None:
        """The peer closes."""
        self.excused = True
        self.actor.acts["read"] = self.connection.loseConnection
        if self.actor.calls["read"]:
            self.connection.loseConnection()
        self._peer_goes()

    def _read_on(self) -> None:
        for _ in range(PATIENCE):
            self.turn_and_wait()
            progress = self.take(1 << 20)
            if self.ended or self.peer_closed:
                break
            if self.over_tcp and not progress:
                watched = [self.peer, *self.world.reactor.readers]
                select.select(watched, [], [], KERNEL)
        if self.actor.calls["made"] and not self.excused:
            assert self.taken >= self.owed, f"{self.owed - self.taken} of {self.owed} are lost"
            assert self.ended == "end", self.ended or "the peer waits"

    def _peer_goes(self) -> None:
        if not self.peer_closed:
            self.peer_closed = True
            self.peer.close()
        for _ in range(PATIENCE):
            if not self.connection.connected:
                break
            self.turn_and_wait()

    def _check_counts(self) -> None:
        counters, counts = self.world.service_state.counters, self.world.counts
        assert counters.connections == 1
        assert self.taken <= counters.bytes_sent <= self.written
        assert counts.get("protocol_failed", 0) == self.actor.raised
