"""Starts the daemon with every service, and runs clients against it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import Any, ClassVar

from tests.interop.table import ENOUGH, QUOTE, SERVICES, Input, Query, Row, Service
from tests.support.needs import PLACES, locate
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, Ended, Output, SystemCase

HERE = Path(__file__).parent
GUARDED = (sys.executable, str(HERE / "guarded.py"))

#: How much of what a client wrote a failure shows (characters).
SHOWN = 500

INTERFACES = {"tcp": "127.0.0.1", "tcp6": r"\:\:1", "udp": "127.0.0.1", "udp6": r"\:\:1"}


class InteropCase(SystemCase):
    """A test of the real daemon with clients that others wrote."""

    timeout: ClassVar[float] = 300

    def setUp(self) -> None:
        super().setUp()
        self._clients = 0
        self.write("quotes", QUOTE)

    def environment(self, **more: str) -> dict[str, str]:
        """
        Make an environment in which clients read no settings of the user, and speak
        English in UTC.
        """
        plain = {"HOME": str(self.directory), "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": PLACES}
        return super().environment(**plain, **more)

    def serve(self, ini: str = "") -> Daemon:
        """
        Start a daemon for which the clock counts as not synchronised.

        @param ini: its configuration; all services of the table where not given.
        """
        return self.daemon(ini or "\n".join(map(self._section, SERVICES)), before=GUARDED)

    def report(self, problems: Iterable[str | None]) -> None:
        """Fail if anything is wrong, with all that is, one per line."""
        wrong = [problem for problem in problems if problem]
        if wrong:
            self.fail("\n".join(["unexpected results:", *wrong]))

    def ask(self, daemon: Daemon, row: Row) -> str | None:
        """
        Have a client send its message, and compare what it writes.

        @return: what is wrong; C{None} if nothing is.
        """
        service, client = row.service, row.client
        command = self._complete(client.command, daemon, service.name, client.transport)
        pattern = r"\A" + client.frame % client.shown(service.expect(row.message))

        def arrived(output: Output) -> None:
            if service.protocol == "discard":
                daemon.output.find(re.escape(row.message.rstrip()))
            else:
                output.wait_for(pattern if service.ends else rf"\A(?s:.){{{ENOUGH}}}")

        ended = self._run_row(command, row, arrived)
        compare = re.fullmatch if service.ends else re.match
        if ended.errors or ended.status or not compare(pattern, ended.output):
            return _problem(command, ended)
        return None

    def query(self, daemon: Daemon, query: Query, host: str = "") -> str | None:
        """
        Have a client ask the time, which it cannot set, and look for what it should print.

        @param host: where the service listens, at port 123.
        @return: what is wrong; C{None} if nothing is.
        """
        command = self._complete(query.command, daemon, query.service, query.transport, host)
        pattern = query.expect("")
        ran = self.run_guarded(command)
        if ran.returncode != query.status or not re.search(pattern, ran.stdout):
            return _problem(command, Ended(ran.returncode, ran.stdout, ""))
        return None

    def run_guarded(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """
        Run a command that has no input and cannot set the clock.

        @return: its status and what it wrote, errors too.
        """
        pipes: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": STDOUT}
        return subprocess.run(
            [*GUARDED, *command], text=True, timeout=DEADLINE, **pipes, **self._popen_arguments()
        )

    def _run_row(self, command: list[str], row: Row, arrived: Callable[[Output], None]) -> Ended:
        """
        Run a client up to its end.

        @param arrived: waits for the answer.
        @return: how it ended, with what was late for error.
        """
        read, write = os.pipe()
        pipes: dict[str, Any] = {"stdin": PIPE, "stdout": write, "stderr": STDOUT, "bufsize": 0}
        with Popen(command, **pipes, **self._popen_arguments()) as process:
            os.close(write)
            output = Output(read)
            try:
                status = _talk(process, row, lambda: arrived(output))
                problem = ""
            except AssertionError:
                status, problem = 0, "has no such answer"
            except subprocess.TimeoutExpired:
                status, problem = 0, "does not end"
            finally:
                process.kill()
            output.join()
            return Ended(status, output.text, problem)

    def _popen_arguments(self) -> dict[str, Any]:
        return {"env": self.environment(), "cwd": self.directory}

    def _section(self, service: Service) -> str:
        listen = ", ".join(
            f"{transport}:0:interface={INTERFACES[transport]}"
            if transport in INTERFACES
            else f"{transport}:{self._path(service.name, transport)}"
            for transport in service.transports
        )
        options = service.options.format(quotes=self.directory / "quotes")
        return f"[{service.name}]\nprotocol = {service.protocol}\nlisten = {listen}\n{options}\n"

    def _path(self, name: str, transport: str) -> Path:
        return self.directory / f"{name}.{transport}"

    def _complete(
        self, command: str, daemon: Daemon, service: str, transport: str, host: str = ""
    ) -> list[str]:
        """Fill the places of a command of the table, and find its program."""
        self._clients += 1
        places: dict[str, Any] = {
            "path": self._path(service, transport),
            "own": self.directory / f"client.{self._clients}",
            "host": host,
        }
        if not host and transport in INTERFACES:
            places["host"], places["port"] = daemon.address(service, transport)
        name, *rest = (part.format(**places) for part in shlex.split(command))
        return [locate(name), *rest]


def _talk(process: Popen[bytes], row: Row, arrived: Callable[[], None]) -> int:
    """
    Send a message through a client, wait for the answer and for the client's end.

    @return: its exit status; 0 for a client that has to be stopped.
    @raise AssertionError: if there is no such answer in time.
    @raise subprocess.TimeoutExpired: if the client does not end.
    """
    keyboard = process.stdin
    assert keyboard is not None
    # Some services answer before they are asked, and the client may have ended by now.
    with suppress(BrokenPipeError):
        keyboard.write(row.message.encode())
    if row.client.input is Input.ENDS:
        keyboard.close()
    arrived()
    keyboard.close()
    if row.client.input is Input.STOPPED or not row.service.ends:
        process.terminate()
        process.wait(DEADLINE)
        return 0
    return process.wait(DEADLINE)


def _problem(command: list[str], ended: Ended) -> str:
    """Say what a client did instead of what was expected."""
    what = ended.errors or f"ended with {ended.status}"
    text = ended.output if len(ended.output) <= SHOWN else ended.output[:SHOWN] + "..."
    return f"{shlex.join(command)} {what}, wrote {text!r}"
