"""
Framings: where the messages in a stream end.

A message is everything that arrived, with the bytes that frame it (a line end, a length).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from attrs import define, field

from socketd.common.timer import Timer
from socketd.settings.value_types import (
    DURATION,
    SIZE,
    ValueType,
    parse_number,
    parse_text,
    within,
)

#: Bytes: a message and its reply fit the memory limit of a connection.
MAX_MESSAGE = 64 * 1024

#: Bytes: the marks of known protocols have one to four.
MAX_DELIMITER = 16

#: Bytes: the headers of known protocols have their length within the first few.
MAX_OFFSET = 64

#: Seconds: below, the network and the reactor are no more exact; above, no peer waits.
SILENCES = 0.001, 60.0

_SYNTAX = "chunk | line | length:1|2|4[:little][:at=N] | delimiter:TEXT | fixed:SIZE"
_KNOWN = r"write chunk, line, length:2, delimiter:\x03, fixed:8 or idle:50ms"
_LENGTHS = "write length:1, length:2 or length:4, then :little or :at=4 if needed"


class MessageTooLong(Exception):
    """A message is longer than the longest, and cannot be split."""


@define
class Framing:
    """
    Splits received data into messages.

    @cvar header: how many bytes at the start of a message are not its content.
    """

    max_message: int

    header = 0

    def start(self, clock: Any, ended: Callable[[Iterator[bytes]], None]) -> None:
        """
        Say what runs timers (C{IReactorTime}), and what takes the messages that they end.

        Most framings have none.
        """

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take received bytes and yield the messages that they complete.

        @raise MessageTooLong: when a message is too long and cannot be split.
        """
        raise NotImplementedError

    def end(self) -> Iterator[bytes]:
        """Yield the message that EOF completes, if any."""
        return iter(())

    def unterminated(self, message: bytes) -> bytes:
        """Return a message without the bytes that mark its end."""
        return message

    def stop(self) -> None:
        """Stop timers: no further message is wanted."""


@define
class Chunks(Framing):
    """Each received chunk is a message; one that is too long is split."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self.max_message):
            yield data[start : start + self.max_message]


@define
class Delimited(Framing):
    """A delimiter ends each message, and so does EOF."""

    delimiter: bytes
    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, start = self._rest + data, 0
        self._rest = b""
        delimiter, length = self.delimiter, len(self.delimiter)
        while (found := data.find(delimiter, start)) >= 0:
            end = found + length
            if end - start > self.max_message:
                raise MessageTooLong
            yield data[start:end]
            start = end
        self._rest = data[start:]
        if len(self._rest) >= self.max_message:
            raise MessageTooLong

    def end(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest

    def unterminated(self, message: bytes) -> bytes:
        return message.removesuffix(self.delimiter)


@define
class Lines(Delimited):
    """A line feed ends each message, and so does EOF."""

    delimiter: bytes = b"\n"

    def unterminated(self, message: bytes) -> bytes:
        return message.removesuffix(b"\n").removesuffix(b"\r")


@define
class Measured(Framing):
    """The base class of framings that know the length of a message; EOF in one drops it."""

    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, start = self._rest + data, 0
        self._rest = b""
        while (end := self._end(data, start)) <= len(data):
            yield data[start:end]
            start = end
        self._rest = data[start:]

    def _end(self, data: bytes, start: int) -> int:
        """
        Return the end of the message at C{start}; while it is not known, an index beyond the data.

        @raise MessageTooLong: when it is too long.
        """
        raise NotImplementedError


@define
class Counted(Measured):
    """
    A length field counts the bytes that follow it.

    @ivar offset: the bytes before the length field.
    """

    size: int
    byteorder: Any = "big"
    offset: int = 0
    header: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.header = self.offset + self.size

    def _end(self, data: bytes, start: int) -> int:
        content = start + self.header
        if content > len(data):
            return content
        length = data[start + self.offset : content]
        end = content + int.from_bytes(length, self.byteorder)
        if end - start > self.max_message:
            raise MessageTooLong
        return end


@define
class Fixed(Measured):
    """Each message has so many bytes, whatever the longest is."""

    size: int

    def _end(self, data: bytes, start: int) -> int:
        return start + self.size


@define
class Idle(Framing):
    """A silence (seconds) ends each message, and so does EOF."""

    silence: float
    _rest: bytes = field(default=b"", init=False)
    _ended: Any = field(default=None, init=False)
    _timer: Any = field(default=None, init=False)

    def start(self, clock: Any, ended: Callable[[Iterator[bytes]], None]) -> None:
        # Time passes while earlier messages wait for their answers, so feed() yields none.
        self._timer = Timer(clock)
        self._ended = ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        if len(self._rest) > self.max_message:
            self.stop()
            return _too_long()
        self._timer.start(self.silence, self._silent)
        return iter(())

    def end(self) -> Iterator[bytes]:
        rest = self._rest
        self.stop()
        return iter((rest,) if rest else ())

    def stop(self) -> None:
        self._rest = b""
        self._timer.stop()

    def _silent(self) -> None:
        self._ended(self.end())


def _too_long() -> Iterator[bytes]:
    """Raise when it is asked for: after the messages before it."""
    raise MessageTooLong
    yield b""


def framing_type(timed: bool) -> ValueType:
    """
    Make the value type of C{framing}, whose values are texts for L{parse_framing}.

    @param timed: whether there is a clock for C{idle}.
    """

    def parse(text: str) -> str:
        if isinstance(parse_framing(text)(MAX_MESSAGE), Idle) and not timed:
            raise ValueError("needs a clock, which this protocol does not have; write line")
        return text

    return ValueType(f"{_SYNTAX} | idle:DURATION" if timed else _SYNTAX, parse)


@lru_cache
def parse_framing(text: str) -> Callable[[int], Framing]:
    """Parse C{framing} to what makes a framing of the longest message (bytes)."""
    if text in _WORDS:
        return _WORDS[text]
    name, colon, argument = text.partition(":")
    if not colon or name not in _WITH_ARGUMENT:
        raise ValueError(f"is not known; {_KNOWN}")
    return _WITH_ARGUMENT[name](argument)


def _length(text: str) -> Callable[[int], Framing]:
    size, *more = text.split(":")
    little = more[:1] == ["little"]
    place, *rest = more[little:] or ["at=0"]
    if size not in ("1", "2", "4") or rest or not place.startswith("at="):
        raise ValueError(f"is no length field; {_LENGTHS}")
    offset = parse_number(place.removeprefix("at="))
    if offset > MAX_OFFSET:
        raise ValueError(f"has its length too far behind; write at=0 to at={MAX_OFFSET}")
    byteorder = "little" if little else "big"
    return partial(Counted, size=int(size), byteorder=byteorder, offset=offset)


def _delimiter(text: str) -> Callable[[int], Framing]:
    delimiter = parse_text(text)
    if not 1 <= len(delimiter) <= MAX_DELIMITER:
        raise ValueError(rf"has no delimiter of 1 to {MAX_DELIMITER} bytes; write delimiter:\x03")
    return partial(Delimited, delimiter=delimiter)


_SIZE = within(SIZE, 1, MAX_MESSAGE, "write fixed:1 to fixed:64KiB")
_SILENCE = within(DURATION, *SILENCES, "write idle:1ms to idle:1m")
_WORDS: dict[str, Callable[[int], Framing]] = {"chunk": Chunks, "line": Lines}
_WITH_ARGUMENT: dict[str, Callable[[str], Callable[[int], Framing]]] = {
    "length": _length,
    "delimiter": _delimiter,
    "fixed": lambda text: partial(Fixed, size=_SIZE.parse(text)),
    "idle": lambda text: partial(Idle, silence=_SILENCE.parse(text)),
}
