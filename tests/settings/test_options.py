"""Tests for L{socketd.settings.options}."""

from __future__ import annotations

import attrs
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.model import DaemonOptions, ServiceOptions, SocketOptions
from socketd.settings.options import REQUIRED, Option, declared, option
from socketd.settings.value_types import NUMBER, TEXT, YES_NO
from tests.settings.refusals import Silence, TalkOptions


class DeclaredTests(SynchronousTestCase):
    """Tests for L{declared} and L{socketd.settings.options.option}."""

    def test_all(self) -> None:
        """A class tells its options in its order, with kind, default and help."""
        self.assertEqual(
            list(declared(TalkOptions).items()),
            [
                ("reply", Option("reply", TEXT, REQUIRED, "What to say.")),
                ("close", Option("close", YES_NO, False, "Whether to close.")),
                ("times", Option("times", NUMBER, 1, "How often to say it.")),
            ],
        )

    def test_none(self) -> None:
        """A class may have no options."""
        self.assertEqual(declared(Silence), {})

    def test_required(self) -> None:
        """An option without default has to be given to the class, by name."""
        self.assertRaises(TypeError, TalkOptions)
        self.assertEqual(TalkOptions(reply=b"x"), TalkOptions(reply=b"x", close=False, times=1))

    def test_any_order(self) -> None:
        """
        One that must be given may stand behind one that has a default; both are given
        by name only.
        """

        @frozen
        class Mixed:
            close: bool = option(YES_NO, False, "Whether to close.")
            times: int = option(NUMBER, REQUIRED, "How often to say it.")

        self.assertEqual(Mixed(times=2), Mixed(times=2, close=False))
        self.assertRaises(TypeError, Mixed)
        self.assertRaises(TypeError, Mixed, True, 2)
        self.assertEqual([found.default for found in declared(Mixed).values()], [False, REQUIRED])

    def test_frozen(self) -> None:
        """Options do not change once they are read."""
        options = TalkOptions(reply=b"x")
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, options, "times", 2)

    def test_manual(self) -> None:
        """The help of each common option is one sentence, and no name is used by two classes."""
        classes = (DaemonOptions, ServiceOptions, SocketOptions)
        options = [found for one in classes for found in declared(one).values()]
        self.assertEqual([o.name for o in options if not o.help.endswith(".")], [])
        self.assertEqual(len({o.name for o in options}), len(options))
