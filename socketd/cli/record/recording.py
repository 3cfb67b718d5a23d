"""A recorded conversation, and the configuration that answers the same client the same way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from attrs import define, field, frozen

from socketd.common.text import one_line
from socketd.protocols.frames import MAX_MESSAGE
from socketd.protocols.framing import DEFAULT_MAX_MESSAGE
from socketd.protocols.rules.grammar import MAX_ANSWER, MAX_RULES
from socketd.protocols.rules.rule import Answer, Anything, Idle, Octets, Pattern, Rule

#: Bytes: a configuration may have four times as many, and a byte is written as up to three.
MAX_RECORDED = 256 * 1024

#: Each turn becomes at most two rules, and a last rule is for all else.
MAX_TURNS = (MAX_RULES - 1) // 2

#: Bytes: what every network carries in one segment, so that one receive brings it.
ONE_SEGMENT = 1200

#: For questions that no line end marks and that came in pieces: longer than the pauses between
#: the segments of a message, shorter than what a client notices.
BY_SILENCE = "idle:50ms"

#: Bytes: with its line end it is a message.
LONGEST = MAX_MESSAGE - len(b"\r\n")

#: Seconds: a server that only greets closes at the shortest silence that a rule can have.
SILENCE = 0.1

CLOSE, RESET = "close", "reset"

#: The bytes of a text; up to a quarter of others is written with escapes.
_TEXT = bytes((*b"\t\r\n", *range(32, 127)))

_HEAD = """\
; Written by socketd record from {server}: answers the same client the same way.
; socketd run --config FILE serves it.
[recorded]
protocol = reply
listen = {listen}
framing = {framing}
max_message = {max_message}
"""


@define
class Turn:
    """What the client said, in one or more pieces, until the server did, and the reverse."""

    question: bytearray = field(factory=bytearray)
    answer: bytearray = field(factory=bytearray)
    receives: int = 0


@define
class Recording:
    """
    The recording of one connection.

    @ivar greeting: what the server said first.
    @ivar ending: L{CLOSE} or L{RESET}, if it was the server that ended the connection.
    @ivar is_full: whether the rest was too long to be recorded.
    """

    greeting: bytearray = field(factory=bytearray)
    turns: list[Turn] = field(factory=list)
    ending: str = ""
    is_full: bool = False
    _recorded: int = 0

    def asked(self, data: bytes) -> None:
        """Record what the client said."""
        is_new = not self.turns or bool(self.turns[-1].answer)
        if not self._fits(data, len(self.turns) + is_new):
            return
        if is_new:
            self.turns.append(Turn())
        self.turns[-1].question += data
        self.turns[-1].receives += 1

    def answered(self, data: bytes) -> None:
        """Record what the server said."""
        if self._fits(data, len(self.turns)):
            place = self.turns[-1].answer if self.turns else self.greeting
            place += data

    def ended(self, ending: str) -> None:
        """Record that the server ended the connection."""
        if not self.is_full:
            self.ending = ending

    def _fits(self, data: bytes, turns: int) -> bool:
        self._recorded += len(data)
        if self._recorded > MAX_RECORDED or turns > MAX_TURNS:
            self.is_full = True
        return not self.is_full


@frozen
class Outcome:
    """What follows a message."""

    answer: bytes = b""
    ending: str = ""


def write(recording: Recording, server: str, listen: str) -> str:
    """Write the configuration of a service that repeats a conversation."""
    framing = framing_of(recording.turns)
    exchanges = list(_exchanges(recording, framing))
    text = _HEAD.format(
        server=one_line(server),
        listen=listen,
        framing=framing,
        max_message=max([DEFAULT_MAX_MESSAGE, *(len(message) + 2 for message, _ in exchanges)]),
    )
    if recording.greeting:
        recording.is_full |= len(recording.greeting) > MAX_ANSWER
        text += f"greeting = {_answer(bytes(recording.greeting[:MAX_ANSWER]))}\n"
    rules = [*_rules(exchanges), *_rest(recording)]
    return text + "rules =\n" + "".join(f"    {rule}\n" for rule in rules)


def framing_of(turns: list[Turn]) -> str:
    """Choose the framing in which a service can tell the questions apart."""
    if all(turn.question.endswith(b"\n") and _is_text(turn.question) for turn in turns):
        return "line"
    if all(turn.receives == 1 and len(turn.question) <= ONE_SEGMENT for turn in turns):
        return "chunk"
    return BY_SILENCE


def _exchanges(recording: Recording, framing: str) -> Iterator[tuple[bytes, Outcome]]:
    """List the messages and what followed each; those that are too long end the list."""
    for turn in recording.turns:
        messages = [bytes(turn.question)]
        if framing == "line":
            messages = [line.removesuffix(b"\r") for line in messages[0].split(b"\n")[:-1]]
        if max(map(len, messages)) > LONGEST or len(turn.answer) > MAX_ANSWER:
            recording.is_full = True
            return
        # The server may have answered each line of several: their answers are one stream.
        yield from ((message, Outcome()) for message in messages[:-1])
        is_last = turn is recording.turns[-1]
        yield messages[-1], Outcome(bytes(turn.answer), recording.ending if is_last else "")


def _rules(exchanges: list[tuple[bytes, Outcome]]) -> Iterator[Rule]:
    """List the rules; a message with different outcomes has one for each, in turn."""
    found: dict[bytes, list[Outcome]] = {}
    for message, outcome in exchanges:
        found.setdefault(message, []).append(outcome)
    for message, outcomes in found.items():
        runs = [(outcome, len(list(group))) for outcome, group in groupby(outcomes)]
        if runs == [(Outcome(), len(outcomes))]:
            continue
        pattern = Octets(message, is_hex=not _is_text(message))
        for outcome, count in runs[:-1]:
            yield _rule(pattern, outcome, count)
        yield _rule(pattern, runs[-1][0], None)


def _rest(recording: Recording) -> Iterator[Rule]:
    """List the rules for a server that only greets, and for what the client did not say."""
    if recording.ending and not recording.turns:
        yield _rule(Idle(SILENCE), Outcome(ending=recording.ending), None)
    yield _rule(Anything(), Outcome(), None)


def _rule(pattern: Pattern, outcome: Outcome, times: int | None) -> Rule:
    return Rule(
        pattern,
        _answer(outcome.answer) if outcome.answer else None,
        close=outcome.ending == CLOSE,
        reset=outcome.ending == RESET,
        silent=outcome == Outcome(),
        times=times,
    )


def _answer(data: bytes) -> Answer:
    return Answer((data,), is_hex=not _is_text(data))


def _is_text(data: bytes | bytearray) -> bool:
    return 4 * len(data.translate(None, _TEXT)) <= len(data)
