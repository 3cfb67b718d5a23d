"""Fenced blocks of a page, and a test that follows them with the real daemon."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from tests.support.processes import Daemon, SystemCase
from tests.support.source_tree import ROOT

#: Stands behind the output of a command.
MARK = "----------- that was all"

#: A port of a page, in an address: from 7000 to 7099, or one of those of the default configuration
#: that README shows; netcat has a space in front of it.
PORT = re.compile(r"(?:(?<=:)|(?<=127\.0\.0\.1 ))(70\d\d|8080|12345)\b")
#: The same in what is bound: there the system chooses another.
BOUND = re.compile(r"(?<=[: ])70\d\d\b")
#: A port in an address that a command prints.
REAL = re.compile(r"(?<=:)(\d{4,5})\b")

#: A port that is bound, in the default configuration.
DEFAULT = re.compile(r"(?<=tcp:|udp:)\d+|(?<=tcp6:)\d+")

#: Commands that keep running.
SERVERS = ("make run", "socketd run", "socketd serve", "python3 server.py")

#: What the operator is asked, and types.
ASKED = re.compile(r"(input the word:)(.+)")

#: The file that a block is, in its first line.
FILE_NAME = re.compile(r"[;#] ([\w.]+)\n")
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@frozen
class Block:
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """List the fenced blocks of a page that say what they are."""
    return [Block(*found) for found in _FENCED.findall(page)]


def write_files(page: str, directory: Path) -> list[Path]:
    """Write the blocks of a page that are files, each to the name that its first line says."""
    files = []
    for block in blocks(page):
        if name := FILE_NAME.match(block.text):
            files.append(directory / name[1])
            files[-1].write_text(block.text)
    return files


def chapter(page: str, heading: str) -> str:
    """Take a chapter of a page, with the parts below it."""
    _, found, rest = page.partition(f"## {heading}\n")
    assert found, f"no chapter {heading}"
    return rest.partition("\n## ")[0]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """
    Take a console apart.

    @return: each command, with the output that is shown behind it.
    """
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def pattern(output: str) -> str:
    """
    Make a regular expression of a shown output, where three dots are anything: in a
    line part of it, alone any number of lines.
    """
    lines = output.rstrip("\n").split("\n")
    text = "\n".join(".*".join(map(re.escape, line.split("..."))) for line in lines)
    text = re.sub(r"(?m)^\.\*\n", lambda _: r"(?:.*\n)*?", text)
    return re.sub(r"\n\.\*$", lambda _: r"(?:\n.*)*", text)


def key(port: re.Match[str]) -> str:
    """Name a port, which UDP has another of than TCP."""
    is_udp = re.search(r"(\budp[: ]|\bntp:|--stamp )\S*$", port.string[: port.start()])
    return f"udp{port[0]}" if is_udp else port[0]


class PageCase(SystemCase):
    """
    A test that follows a page: it writes its files, starts its servers at free ports,
    types its commands, and compares what they print once more is typed.
    """

    def follow(self, page: Path, **environ: str) -> None:
        """
        Follow a page to its end, and stop what it has started.

        @param environ: more of the environment.
        """
        found = blocks(page.read_text())
        self.ports: dict[str, str] = {}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environ = self.environment(PATH=path, **environ)
        self._servers: list[Daemon] = []
        self._shell = self._start(["bash", "--norc"])
        self._shell.type("exec 2>&1\n")
        self._typed: tuple[str, str] | None = None
        for block in found:
            if block.language == "console":
                for command, output in commands(block.text):
                    self._obey(command, output)
            elif block.language == "log":
                self._expect(self._servers[-1], block.text)
            elif block.language != "sh":
                self._keep(block.text)
        self._compare()
        for server in self._servers[-1:]:
            server.stop()

    def _start(self, words: list[str]) -> Daemon:
        started = Daemon(words, env=self._environ, cwd=self.directory)
        self.addCleanup(started.kill)
        return started

    def _keep(self, text: str) -> None:
        """Write a file, or the next part of it; the system chooses its ports."""
        name = FILE_NAME.match(text)
        if name is None:
            return
        text = BOUND.sub("0", text)
        with (self.directory / name[1]).open("a") as file:
            file.write(text)

    def _obey(self, command: str, output: str) -> None:
        self._compare()
        if command.startswith(SERVERS):
            started = self._start(self._server(shlex.split(command)))
            self._servers.append(started)
            self._expect(started, output)
        else:
            # A check says what stands in the file.
            is_check = command.startswith("socketd check")
            self._typed = command, PORT.sub("0", output) if is_check else output
            typed = PORT.sub(lambda port: self.ports.get(key(port), port[0]), command)
            self._shell.type(f"{typed}\nprintf '\\n%s\\n' '{MARK}'\n")

    def _server(self, words: list[str]) -> list[str]:
        """
        Give the command of a server, which the system gives a port: C{make run} is one with the
        default configuration.
        """
        if words[:2] == ["socketd", "serve"]:
            return [BOUND.sub("0", word) for word in words]
        if words[:2] != ["make", "run"]:
            return words
        file = self.write("default.ini", DEFAULT.sub("0", (ROOT / "etc/socketd.ini").read_text()))
        options = [word.removeprefix("ARGS=") for word in words[2:]]
        return ["socketd", "run", "--config", str(file), *options]

    def _expect(self, server: Daemon, text: str) -> None:
        """
        Wait until a server has said each of these lines, and note its ports; type what
        its operator does.
        """
        for line in text.splitlines():
            if asked := ASKED.fullmatch(line):
                server.output.find(asked[1])
                server.type(f"{asked[2]}\n")
                continue
            shown = map(key, PORT.finditer(line))
            expected = re.sub(PORT, r"(\\d+)", pattern(line))
            said = server.output.find(rf"{expected}$")
            self.ports.update(zip(shown, said.groups()))

    def _compare(self) -> None:
        """Wait for the end of what was typed last, if anything was, and compare."""
        if self._typed is None:
            return
        (command, output), self._typed = self._typed, None
        found = self._shell.output.wait_for(rf"([\s\S]*?)^{MARK}\n")[1]
        shown = {real: port.removeprefix("udp") for port, real in self.ports.items()}
        text = REAL.sub(lambda port: shown.get(port[0], port[0]), found)
        expected = rf"\A\s*{pattern(output)}\s*\Z"
        if re.match(expected, text) is None:
            raise AssertionError(f"{command}\nsaid:\n{text}\nnot:\n{output}")
