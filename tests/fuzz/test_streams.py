"""A short run of the state machines, always the same ways; C{make fuzz} takes longer."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from socketd.access.policy import Deadlines
from socketd.net.service_state import ServiceState
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.write_buffer import HIGH_WATER, WriteBuffer
from tests.fuzz.running import Profile, try_machine
from tests.fuzz.streams import HEADERS, StreamMachine

#: No deadline that could end a connection in place of what is tested.
QUIET = Deadlines()


def begun(**choices: Any) -> StreamMachine:
    """Begin a way with small buffers, a direct peer and no deadlines, but for what is given."""
    machine = StreamMachine()
    plain: dict[str, Any] = {"made": ("nothing",), "header": b"", "cut": 1, "behind": 0}
    plain |= {"over_tcp": False, "small": True, "half": False, "limits": QUIET}
    machine.begin(**plain | {"ending": "closed"} | choices)
    return machine


class StreamTests(SynchronousTestCase):
    """Tests for connections, in any order of events."""

    def test_streams(self) -> None:
        """
        What is owed arrives, in order, within bounds; each end is told once; nothing is left.
        """
        try_machine("streams", Profile(examples=120))

    def test_secure_streams(self) -> None:
        """So it is behind TLS, with and without a PROXY header."""
        try_machine("secure_streams", Profile(examples=40))


class FoundTests(SynchronousTestCase):
    """Tests for ways that once ended badly."""

    def test_behind_a_header(self) -> None:
        """
        What stands behind a PROXY header is not handed to a protocol that has closed, reset,
        paused, or written more than the peer takes.
        """
        for act in (("lose",), ("abort",), ("pause",), ("write", 131072)):
            machine = begun(header=HEADERS[0], behind=1, made=act)
            machine.keeps_to_the_contract()
            machine.teardown()

    def test_nothing_buffered(self) -> None:
        """
        A close has its end also where the kernel has taken all that is owed, and has no room.
        """
        for size in (1, 193, 1000, 3000):
            begun(ending="peer is silent", made=("write", size)).teardown()

    def test_half_twice(self) -> None:
        """The end of writing is told once, also if it is asked for again."""
        machine = begun(half=True, made=("half",))
        machine.turns(1)
        machine.protocol_acts(("half",))
        machine.protocol_acts(("unregister",))
        machine.turns(2)
        self.assertEqual(machine.actor.calls["write"], 1)
        machine.teardown()

    def test_producer_that_was_paused(self) -> None:
        """
        A producer that was told to wait is resumed before the close, and what it then writes
        arrives.
        """
        machine = begun(made=("push",))
        machine.producer_pushes(2 * HIGH_WATER)
        machine.protocol_acts(("lose",))
        producer = machine.producer[0]
        assert producer.paused
        resume = producer.resumeProducing

        def resume_and_write() -> None:
            resume()
            machine.do_write(100)

        producer.resumeProducing = resume_and_write
        while machine.take(HIGH_WATER) or not machine.ended:
            machine.turns(1)
            machine.keeps_to_the_contract()
        self.assertEqual(machine.taken, 2 * HIGH_WATER + 100)
        machine.teardown()

    def test_half_with_producer(self) -> None:
        """Writing is shut down although a producer is registered that was not told to wait."""
        machine = begun(half=True, made=("push",))
        machine.producer_pushes(100)
        machine.protocol_acts(("half",))
        machine.turns(1)
        machine.peer_reads(1000)
        self.assertEqual((machine.taken, machine.actor.calls["write"]), (100, 1))
        machine.teardown()


class BrokenTests(SynchronousTestCase):
    """Tests for the machine itself: a connection that breaks a promise is found."""

    def go(self, ending: str) -> None:
        """Take one way: the protocol writes much, the peer says something, and they end."""
        machine = begun(ending=ending, made=("write", 100_000))
        machine.peer_says(100)
        machine.turns(3)
        machine.peer_reads(1000)
        machine.keeps_to_the_contract()
        machine.teardown()

    def test_sound(self) -> None:
        """No way ends badly with a sound connection."""
        for ending in ("closed", "peer ends", "peer is silent", "aborted", "peer is gone"):
            self.go(ending)

    def test_broken(self) -> None:
        """
        Bytes that are lost, a connection that reads on, one that stays in the table, and one
        that never gives up are found.
        """
        consume = WriteBuffer._consume

        def lose(connection: StreamConnection, sent: int) -> None:
            consume(connection, sent + 1 if connection._buffered > sent + 1 else sent)

        for where, what, broken in (
            (StreamConnection, "_consume", lose),
            (StreamConnection, "_linger", lambda connection: connection.abortConnection()),
            (StreamConnection, "_update_reading", lambda connection: None),
            (ServiceState, "leave", lambda service_state, connection: None),
        ):
            with mock.patch.object(where, what, broken):
                self.assertRaises(Exception, self.go, "closed")
        with mock.patch.object(StreamConnection, "start_grace", lambda connection, now: None):
            self.assertRaises(AssertionError, self.go, "peer is silent")
