"""Tests for L{socketd.cli.record.recording}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.record.recording import (
    CLOSE,
    LONGEST,
    MAX_RECORDED,
    MAX_TURNS,
    RESET,
    SILENCE,
    Recording,
    framing_of,
)
from socketd.protocols.rules.grammar import MAX_ANSWER, MAX_RULES
from tests.cli.record.replay import Replay, Said, recorded, configuration_of


def rules(*said: Said, ending: str = "") -> list[str]:
    """Record a conversation, and return the rules without the last, which is for all else."""
    _, _, text = configuration_of(recorded(*said, ending=ending)).partition("rules =\n")
    *first, last = (line.strip() for line in text.splitlines())
    assert last == "* -> silent"
    return first


class RulesTests(SynchronousTestCase):
    """Tests for the rules of L{write}."""

    def test_lines(self) -> None:
        """A text of lines becomes rules in quotes, without line ends in the patterns."""
        found = rules([b"220 hi\r\n"], b"HELO x\r\n", [b"250 \"x\"\r\n"])
        self.assertEqual(found, [r'"HELO x" -> "250 \"x\"\r\n"'])

    def test_binary(self) -> None:
        """Bytes that are no text are configuration_of in hex."""
        found = rules(b"\x01\x03\x00\x00", [b"\x01\x83\x02"])
        self.assertEqual(found, ["hex 01 03 00 00 -> hex 01 83 02"])

    def test_repeated(self) -> None:
        """The same question with other answers has a rule for each, in turn; the last stays."""
        said: list[Said] = [b"n\n", [b"1"], b"n\n", [b"1"], b"n\n", [b"2"], b"n\n", [b"1"]]
        self.assertEqual(rules(*said), [
            '"n" -> "1", times 2',
            '"n" -> "2", times 1',
            '"n" -> "1"',
        ])

    def test_unanswered(self) -> None:
        """A line without an answer needs a rule only where the same line had one."""
        self.assertEqual(rules(b"a\nb\n\n", [b"1"], b"c\n"), ['"" -> "1"'])
        self.assertEqual(rules(b"\n\n", [b"1"]), ['"" -> silent, times 1', '"" -> "1"'])

    def test_ending(self) -> None:
        """The end that the server made follows the last answer, or is the only one."""
        said: list[Said] = [b"q\n", [b"1"], b"q\n", [b"1"]]
        self.assertEqual(rules(*said, ending=CLOSE), ['"q" -> "1", times 1', '"q" -> "1", close'])
        self.assertEqual(rules(b"q\n", ending=RESET), ['"q" -> reset'])
        self.assertEqual(rules([b"it is noon"], ending=CLOSE), ["idle 100ms -> close"])

    def test_head(self) -> None:
        """The rest of the configuration says where, and how the server greeted."""
        text = configuration_of(recorded([b"hi; \n"], b"x" * 5000 + b"\n", [b"y"]))
        self.assertIn("listen = tcp:0:interface=127.0.0.1\n", text)
        self.assertIn("framing = line\nmax_message = 5002\n", text)
        self.assertIn('greeting = "hi; \\n"\n', text)
        self.assertNotIn("greeting", configuration_of(recorded(b"x", [b"y"])))


class FramingTests(SynchronousTestCase):
    """Tests for L{framing_of}."""

    def test_framing(self) -> None:
        """Lines of text are lines; else a receive is a message, or a silence ends it."""
        cases: list[tuple[tuple[Said, ...], str]] = [
            ((), "line"),
            (((b"a", b"b\n"),), "line"),
            ((b"a\n", [b"1"], b"b\nc\n"), "line"),
            ((b"a\n", [b"1"], b"b"), "chunk"),
            ((b"\x01\x03\x00\x0a",), "chunk"),
            (((b"\x01", b"\x02"),), "idle:50ms"),
            ((bytes(1201),), "idle:50ms"),
        ]
        for said, expected in cases:
            self.assertEqual(framing_of(recorded(*said).turns), expected, said)


class BoundTests(SynchronousTestCase):
    """Tests for the bounds of L{Recording}."""

    def test_bytes(self) -> None:
        """What is too much for one configuration is left out, and so is all after it."""
        recording = recorded(b"a\n", [b"1"], b"b\n", [bytes(MAX_RECORDED)], b"c\n", [b"3"])
        recording.ended(CLOSE)
        self.assertTrue(recording.is_full)
        self.assertIn('    "a" -> "1"\n    * -> silent\n', configuration_of(recording))

    def test_turns(self) -> None:
        """However a conversation goes, it has no more rules than a service may have."""
        recording = Recording()
        for turn in range(MAX_TURNS + 1):
            recording.asked(b"\n\n")
            recording.answered(str(turn).encode())
        self.assertTrue(recording.is_full)
        text = configuration_of(recording)
        self.assertEqual(text.count(" -> "), 2 * MAX_TURNS + 1)
        self.assertLessEqual(text.count(" -> "), MAX_RULES)
        Replay(text)

    def test_messages(self) -> None:
        """A question or an answer that no rule can have ends the rules before it."""
        for said in (b"\0" * (LONGEST + 1), [bytes(MAX_ANSWER + 1)]):
            recording = recorded(b"\1", [b"1"], b"\2", said)
            self.assertEqual(configuration_of(recording).count(" -> "), 2)
            self.assertTrue(recording.is_full)
        recording = recorded([bytes(MAX_ANSWER + 1)])
        Replay(configuration_of(recording))
        self.assertTrue(recording.is_full)

    def test_largest(self) -> None:
        """The largest recording is a configuration that can be read."""
        recording = Recording()
        while not recording.is_full:
            recording.asked(bytes(range(128, 160)) + str(len(recording.turns)).encode())
            recording.answered(bytes(range(160, 256)) * 8)
        Replay(configuration_of(recording))


#: Conversations, and how the server ended them.
CONVERSATIONS: list[tuple[list[Said], str]] = [
    ([[b"220 ready\r\n"], b"HELO a\r\n", [b"250 a\r\n"], b"QUIT\r\n", [b"221 bye\r\n"]], CLOSE),
    ([b"n\n", [b"1\n"], b"n\n", [b"1\n"], b"n\n", [b"2\n"], b"n\n", [b"\"\\;#\x00\xff\n"]], ""),
    ([b"DATA\r\n", [b"354 go\r\n"], b"a\r\n\r\n; b\r\n\r\n.\r\n", [b"250 ok\r\n"]], ""),
    ([b"\x01\x03\x0a", [b"\x01\x83\x02"], b"\x01\x06", [b"\x00" * 300]], RESET),
    ([(b"\x01", b"\x02"), [b"\x03"], (b"\x04" * 2000, b"\x05"), [b"\x06"]], ""),
    ([b"PING", [b"+PONG\r\n"], b"PING", [b"+PONG\r\n"], b"# ; \" -> [x]", [b"-ERR"]], CLOSE),
    ([[b"quote\r\n"]], CLOSE),
]


class ReplayTests(SynchronousTestCase):
    """What L{write} writes answers the same client the same way."""

    def test_same(self) -> None:
        """Each question has the answer that it had, and the end is the same."""
        for said, ending in CONVERSATIONS:
            replay = Replay(configuration_of(recorded(*said, ending=ending)))
            found: list[Said] = [[greeting]] if (greeting := replay.wire.taken()) else []
            for one in said:
                if not isinstance(one, list):
                    found += [one, [replay.say(*(one if isinstance(one, tuple) else (one,)))]]
            self.assertEqual(found, said)
            replay.clock.advance(SILENCE)
            self.assertEqual(replay.wire.disconnecting, bool(ending), said)
            self.assertEqual(replay.wire.disconnected, ending == RESET, said)
