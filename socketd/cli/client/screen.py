"""
What a conversation looks like.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from socketd.cli.common.sanitize import AnswerDecoder
from socketd.cli.transport.interfaces import IInput, IInputUser, IOutput
from socketd.terminal.prompt_line import PromptLine

PROMPT = ">>: "


class Screen:
    """
    Writes answers, each from the start of a line on, and the prompt, where somebody is there to
    see it.
    """

    def __init__(self, output: IOutput, prompts: bool, encoding: str | None = None) -> None:
        """
        Begin at the start of a line.

        @param output: where it is written.
        @param prompts: whether the prompt is.
        @param encoding: that of the terminal; by default the one of standard output.
        """
        self._output = output
        self._prompts = prompts
        self._encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
        self._decoder = AnswerDecoder()
        self._at_line_start = True
        self._is_prompting = False

    def prompt(self) -> None:
        """
        Ask for a line, unless that is still to be seen.
        """
        if self._prompts and not self._is_prompting:
            self.new_line()
            self._write(PROMPT)
            self._is_prompting = True

    def line_typed(self) -> None:
        """
        Note that the user ended the line: the terminal has shown that, behind the prompt.
        """
        if self._is_prompting:
            self._is_prompting = False
            self._at_line_start = True

    def show(self, data: bytes, is_whole: bool) -> None:
        """
        Write what the peer said.

        @param data: its bytes.
        @param is_whole: whether they are a message; else they go on where the last ones ended.
        """
        if self._is_prompting or is_whole:
            self.new_line()
        self._write(self._decoder.decode(data, is_whole))

    def new_line(self) -> None:
        """
        End the line, where something stands on it.
        """
        self._is_prompting = False
        if not self._at_line_start:
            self._write("\n")

    def close(self) -> None:
        """
        Write half a character that no other half followed, and end the line.
        """
        self._write(self._decoder.decode(b"", True))
        self.new_line()

    def _write(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            self._output.write(text.encode(self._encoding, "backslashreplace"))


class EditedScreen(Screen):
    """
    The same at a terminal that hands over keys: what is typed stays below the answers.

    @ivar line: where it is typed.
    """

    def __init__(
        self, output: IOutput, width: Callable[[], int], encoding: str | None = None
    ) -> None:
        """
        Begin at the start of a line.

        @param output: where it is written.
        @param width: gives the columns of the terminal.
        @param encoding: that of the terminal; by default the one of standard output.
        """
        super().__init__(output, True, encoding)
        self.line = PromptLine(lambda text: output.write(text.encode(self._encoding)), width)
        self.line.prompt = PROMPT
        self.line.is_held = True

    def prompt(self) -> None:
        """
        Ask for a line, with what of it is typed already.
        """
        self.new_line()
        self._is_prompting = True
        self.line.is_held = False
        self.line.draw()

    def line_typed(self) -> None:
        """
        Note that a line was entered, and show no other one before the next prompt.
        """
        super().line_typed()
        self.line.is_held = True

    def new_line(self) -> None:
        """
        Take the prompt away, or end the line where something stands on it.
        """
        self.line.clear()
        self.line.is_held = True
        super().new_line()


class EditedInput:
    """
    Standard input as keys, and the lines that they make.
    """

    is_terminal = True

    def __init__(self, source: IInput, line: PromptLine) -> None:
        """
        Read nothing yet.

        @param source: has the keys.
        @param line: what they do something to.
        """
        self._source = source
        self._line = line
        self.pause, self.resume = source.pause, source.resume

    def start(self, user: IInputUser) -> None:
        """
        Begin to read.

        @param user: who takes the lines.
        """
        self._user = user
        self._source.start(self)

    def input_received(self, data: bytes) -> None:
        """
        Hand on what is entered.

        @param data: what the terminal sent.
        """
        for line in self._line.take(data):
            self._user.input_received(f"{line}\n".encode())
        if self._line.has_ended:
            self._user.input_ended()

    def input_ended(self) -> None:
        """
        Hand that on, too.
        """
        self._user.input_ended()

    def input_failed(self, error: OSError) -> None:
        """
        Hand that on, too.

        @param error: why the terminal cannot be read.
        """
        self._user.input_failed(error)
