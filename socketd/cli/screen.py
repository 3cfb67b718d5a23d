"""
What a conversation looks like.
"""

from __future__ import annotations

import sys

from socketd.cli.display import AnswerDecoder
from socketd.cli.interfaces import IOutput

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
