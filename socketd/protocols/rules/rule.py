"""One rule: a pattern, an answer, and what is done with it; each is printed as it is written."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen

from socketd.settings.value_types import write_duration

#: Where octets stand in a message that matches: they are all of it, or a part.
WHOLE, PREFIX, CONTAINS = "", "prefix", "contains"

#: What a byte is in quotes if it is not itself.
_WRITTEN = {byte: rf"\x{byte:02x}" for byte in (*range(32), *range(127, 256))}
_WRITTEN |= str.maketrans({"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", '"': r"\""})


def quoted(data: bytes) -> str:
    """Write bytes as a text in quotes, as in a rule."""
    return f'"{data.decode("latin-1").translate(_WRITTEN)}"'


@frozen
class Octets:
    """
    The octets of a message, or a part of them.

    @ivar where: L{WHOLE}, L{PREFIX} or L{CONTAINS}.
    @ivar any: the indexes of octets that may have any value.
    """

    value: bytes
    where: str = WHOLE
    is_hex: bool = False
    any: frozenset[int] = frozenset()

    def __str__(self) -> str:
        octets = (".." if at in self.any else f"{o:02x}" for at, o in enumerate(self.value))
        text = f"hex {' '.join(octets)}" if self.is_hex else quoted(self.value)
        return f"{self.where} {text}".lstrip()


@frozen
class Expression:
    """
    A regular expression that is somewhere in a message.

    @ivar compiled: what searches for it, in linear time.
    """

    source: str
    compiled: Any = attrs.field(eq=False, repr=False)

    def __str__(self) -> str:
        return f"/{self.source}/"


@frozen
class Every:
    """Each so many messages of those that no rule above has answered."""

    count: int

    def __str__(self) -> str:
        teen = self.count % 100 in (11, 12, 13)
        return f"every {self.count}{'th' if teen else _ORDINALS.get(self.count % 10, 'th')}"


@frozen
class Idle:
    """A silence (seconds)."""

    seconds: float

    def __str__(self) -> str:
        return f"idle {write_duration(self.seconds)}"


@frozen
class Anything:
    """Any message."""

    def __str__(self) -> str:
        return "*"


Pattern = Octets | Expression | Every | Idle | Anything

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


@frozen
class Answer:
    """
    What is sent.

    @ivar parts: bytes, and the numbers of groups of the expression.
    @ivar groups: these numbers.
    @ivar fixed: the bytes that are always the same.
    """

    parts: tuple[bytes | int, ...]
    is_hex: bool = False
    groups: tuple[int, ...] = attrs.field(init=False, eq=False)
    fixed: bytes = attrs.field(init=False, eq=False)

    @groups.default
    def _find_groups(self) -> tuple[int, ...]:
        return tuple(part for part in self.parts if isinstance(part, int))

    @fixed.default
    def _join_fixed(self) -> bytes:
        return b"".join(part for part in self.parts if isinstance(part, bytes))

    def __str__(self) -> str:
        write = (lambda part: part.hex(" ")) if self.is_hex else (lambda part: quoted(part)[1:-1])
        written = [rf"\{p}" if isinstance(p, int) else write(p) for p in self.parts]
        return " ".join(("hex", *written)) if self.is_hex else f'"{"".join(written)}"'

    def filled(self, match: Any) -> bytes:
        """Return its bytes with the groups of a match; one that took no part is empty."""
        return b"".join(p if isinstance(p, bytes) else match[p] or b"" for p in self.parts)


@frozen
class Rule:
    """
    What answers the messages that match a pattern.

    @ivar answer: C{None}: none.
    @ivar after: how long the answer waits, and the next message with it (seconds).
    @ivar times: how often it answers, in one conversation; C{None}: always.
    @ivar line: its line, counted as L{socketd.settings.diagnostics.Mistake} does.
    @ivar column: where it begins.
    """

    pattern: Pattern
    answer: Answer | None = None
    after: float = 0.0
    close: bool = False
    reset: bool = False
    silent: bool = False
    times: int | None = None
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        does = [str(self.answer)] if self.answer is not None else []
        does += [f"after {write_duration(self.after)}"] if self.after else []
        does += [name for name in ("silent", "close", "reset") if getattr(self, name)]
        does += [f"times {self.times}"] if self.times is not None else []
        return f"{self.pattern} -> {', '.join(does)}"

    def answer_to(self, message: bytes) -> bytes:
        """Return what is sent for a message that matches."""
        if self.answer is None:
            return b""
        if not self.answer.groups:
            return self.answer.fixed
        assert isinstance(self.pattern, Expression)
        return self.answer.filled(self.pattern.compiled.search(message))
