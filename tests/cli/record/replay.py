"""Conversations that are recorded, and held again with the service that comes of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from socketd.cli.record.recording import Recording, write
from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.registry import installed
from socketd.protocols.spec import ProtocolContext
from socketd.settings.load import parse
from tests.protocols.fakes import Wire

#: What is said in turn: the client's words are bytes, or pieces of them, the server's a list.
Said = bytes | tuple[bytes, ...] | list[bytes]


def recorded(*said: Said, ending: str = "") -> Recording:
    """Record a conversation."""
    recording = Recording()
    for one in said:
        if isinstance(one, list):
            recording.answered(one[0])
        else:
            for piece in one if isinstance(one, tuple) else (one,):
                recording.asked(piece)
    if ending:
        recording.ended(ending)
    return recording


def configuration_of(recording: Recording) -> str:
    """Write a configuration."""
    return write(recording, "192.0.2.1:25", "tcp:0:interface=127.0.0.1")


class Replay:
    """A connection to the service of a configuration."""

    def __init__(self, text: str) -> None:
        settings = parse(text, "FILE", installed(), "/run")
        [service] = settings.services
        self.clock = Clock()
        stream: Any = service.declared.stream
        context = ProtocolContext(self.clock.seconds, OperatorQueue(self.clock))
        self.wire = Wire()
        self.protocol = stream(service.options, context)
        self.protocol.makeConnection(self.wire)

    def say(self, *pieces: bytes) -> bytes:
        """Say something, wait for as long as a client would, and return what is answered."""
        for piece in pieces:
            self.protocol.dataReceived(piece)
        self.clock.advance(0.06)
        return self.wire.taken()
