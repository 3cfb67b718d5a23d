"""Terminal output and line editing of an interactive session."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator

from socketd.cli.client.stdio import IOutput
from socketd.common.text import printable
from socketd.terminal.view import PromptLine

PROMPT = ">>: "


class Screen:
    """Writes replies, each from the start of a line, and, if interactive, the prompt."""

    def __init__(self, output: IOutput, prompts: bool, encoding: str | None = None) -> None:
        """@param encoding: the terminal's encoding; by default that of standard output."""
        self._output = output
        self._prompts = prompts
        self._encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
        # Incremental: a character may be cut between two segments.
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._at_line_start = True
        self._is_prompting = False

    def prompt(self) -> None:
        """Write the prompt, unless it is still visible."""
        if self._prompts and not self._is_prompting:
            self.new_line()
            self._write(PROMPT)
            self._is_prompting = True

    @property
    def has_ended(self) -> bool:
        """Whether the user ended the input."""
        return False

    def typed(self, data: bytes) -> Iterator[bytes]:
        """Turn what was typed into the lines that were entered, one at a time."""
        yield data

    def line_typed(self) -> None:
        """Note that the user entered a line; the terminal has echoed the line end."""
        if self._is_prompting:
            self._is_prompting = False
            self._at_line_start = True

    def show(self, data: bytes, is_datagram: bool) -> None:
        """Write a datagram, or data of a stream, which continues the previous data."""
        if self._is_prompting or is_datagram:
            self.new_line()
        self._write(printable(self._decoder.decode(data, is_datagram)))

    def new_line(self) -> None:
        """End the current line, unless it is empty."""
        self._is_prompting = False
        if not self._at_line_start:
            self._write("\n")

    def close(self) -> None:
        """Flush an incomplete character, and end the line."""
        self._write(printable(self._decoder.decode(b"", True)))
        self.new_line()

    def _write(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            self._output.write(text.encode(self._encoding, "backslashreplace"))


class EditedScreen(Screen):
    """A screen for a terminal in key-by-key mode: the edited line stays below the replies."""

    def __init__(
        self, output: IOutput, width: Callable[[], int], encoding: str | None = None
    ) -> None:
        """@param width: returns the terminal's width in columns."""
        super().__init__(output, True, encoding)
        self.line = PromptLine(lambda text: output.write(text.encode(self._encoding)), width)
        self.line.prompt = PROMPT
        self.line.is_held = True

    def prompt(self) -> None:
        """Draw the prompt with the line edited so far."""
        self.new_line()
        self._is_prompting = True
        self.line.is_held = False
        self.line.draw()

    @property
    def has_ended(self) -> bool:
        return self.line.has_ended

    def typed(self, data: bytes) -> Iterator[bytes]:
        return (f"{line}\n".encode() for line in self.line.feed(data))

    def line_typed(self) -> None:
        """Note that a line was entered, and hide the editor until the next prompt."""
        super().line_typed()
        self.line.is_held = True

    def new_line(self) -> None:
        """Erase the prompt, or end the current line."""
        self.line.clear()
        self.line.is_held = True
        super().new_line()
