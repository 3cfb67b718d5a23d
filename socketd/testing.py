"""
A daemon on free ports for the time of a test, under pytest, unittest and trial.

C{socketd_server} starts it as a process of its own, and stops it again; pytest has a fixture of
that name (L{socketd.pytest_plugin}).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from socketd.cli.operator.control_socket import FILE, ControlSocket, check
from socketd.common.errors import CommandError
from socketd.common.table import LIST_GAP
from socketd.control.requests import parse_request

#: How long a daemon may take to start, to answer a command, and to stop (seconds): long, for a
#: busy machine; a daemon that cannot start says so at once.
TIMEOUT = 30.0

#: How often it is seen whether a daemon that starts has ended instead (seconds).
_INTERVAL = 0.05

#: What would lead the daemon away from the files of the test.
_HIDDEN = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "JOURNAL_STREAM")

_DAEMON = re.compile(r"(?m)^\[socketd\][ \t]*$")
_CONTROL = "control = {runtime}/" + FILE

#: Addresses that mean every interface, and where a client on the same machine finds them.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}

_UNIX_KINDS = {"unix", "unixgram"}

#: What C{connect} of a socket takes: host and port, or a path.
Address = tuple[str, int] | str


class StartError(Exception):
    """The daemon did not start; the text is what it said."""


@frozen
class Service:
    """
    A service of the daemon, by the kinds of its listeners.

    Each kind is an attribute with the address of the first listener of that kind, for C{connect}
    and C{sendto}: C{tcp}, C{tcp6}, C{tls}, C{udp}, C{unix}. With C{_port} behind it, it is the
    port alone: C{tcp_port}.

    @ivar name: that of its section.
    @ivar listeners: kind and address of each listener.
    """

    name: str
    listeners: tuple[tuple[str, Address], ...]

    def __getattr__(self, name: str) -> Any:
        kind = name.removesuffix("_port")
        for found, address in self.listeners:
            if found == kind:
                return address[1] if kind != name else address
        if name.startswith("_"):
            raise AttributeError(name)
        kinds = ", ".join(dict.fromkeys(found for found, _ in self.listeners)) or "nothing"
        raise AttributeError(f"[{self.name}] has no listener {kind}; it listens at {kinds}")


def read_listener(text: str) -> tuple[str, Address]:
    """
    Read a listener as the daemon shows it: C{tcp 127.0.0.1:7007}.

    @return: its kind, and where a client on this machine reaches it.
    """
    kind, _, address = text.partition(" ")
    if kind.rpartition(":")[2] in _UNIX_KINDS:
        return kind, address
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return kind, (_WILDCARDS.get(host, host), int(port))


class SocketdServer:
    """
    A running daemon.

    Each service is an attribute, with C{_} where its name has C{-}, and an item by its name.

    @ivar directory: a temporary one, with the configuration C{socketd.ini} and the log C{log}.
    @ivar pid: the number of its process.
    """

    def __init__(self, directory: Path, text: str) -> None:
        self.directory = directory
        self._file = directory / "socketd.ini"
        self._log = directory / "log"
        self._write(text)
        self._process = self._start()
        self.pid = self._process.pid

    @property
    def log(self) -> str:
        """What the daemon has logged so far."""
        return self._log.read_text(errors="backslashreplace")

    @property
    def services(self) -> dict[str, Service]:
        """The services by name, as they are served now."""
        found = {}
        for row in self.command("services")["rows"]:
            texts = filter(None, row["listens"].split(LIST_GAP))
            found[row["service"]] = Service(row["service"], tuple(map(read_listener, texts)))
        return found

    def __getitem__(self, name: str) -> Service:
        return self.services[name]

    def __getattr__(self, name: str) -> Service:
        if name.startswith("_"):
            raise AttributeError(name)
        services = self.services
        for found in (name, name.replace("_", "-")):
            if found in services:
                return services[found]
        raise AttributeError(f"there is no service {name}; there are {', '.join(services)}")

    def command(self, line: str) -> dict[str, Any]:
        """
        Run a command of operators: C{fault echo slow}, C{connections}, C{reset 3}.

        @return: the answer, as C{socketd --json} prints it.
        @raise CommandError: if there is no such command, or the daemon refuses it.
        """
        request = parse_request(line)
        with closing(ControlSocket(str(self.directory / FILE), TIMEOUT)) as session:
            answer = session.ask(request.command, request.arguments)
        try:
            check(answer)
        except CommandError as error:
            # Tracebacks show it below the text.
            error.add_note("\n".join(error.details))
            raise
        return answer

    def reload(self, text: str) -> list[str]:
        """
        Serve another configuration; connections of services that stay are kept.

        @return: what has changed, one line each.
        @raise CommandError: with all that is wrong, and nothing has changed.
        """
        before = self._file.read_text()
        self._write(text)
        try:
            return list(self.command("reload")["changes"])
        except CommandError:
            self._file.write_text(before)
            raise

    def stop(self) -> None:
        """Stop the daemon, or end it if that takes too long."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, text: str) -> None:
        if _DAEMON.search(text):
            text = _DAEMON.sub(f"[socketd]\n{_CONTROL}", text, count=1)
        else:
            # At the end, so that the numbers of lines are those of the test.
            text = f"{text}\n[socketd]\n{_CONTROL}\n"
        self._file.write_text(text)

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        environ["RUNTIME_DIRECTORY"] = environ["STATE_DIRECTORY"] = str(self.directory)
        environ["NOTIFY_SOCKET"] = str(self.directory / "notify.sock")
        command = [sys.executable, "-m", "socketd", "run", str(self._file)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(environ["NOTIFY_SOCKET"])
            with self._log.open("wb") as log:
                process = subprocess.Popen(
                    command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            try:
                self._wait(process, ready)
            except BaseException:
                process.kill()
                process.wait()
                raise
        return process

    def _wait(self, process: subprocess.Popen[bytes], ready: socket.socket) -> None:
        """Wait until the daemon says that it serves (sd_notify(3)), or has ended."""
        ready.settimeout(_INTERVAL)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            with suppress(TimeoutError):
                if b"READY=1" in ready.recv(4096).splitlines():
                    return
            if process.poll() is not None:
                raise StartError(self.log.strip())
        raise StartError(f"not ready after {TIMEOUT:.0f} s:\n{self.log}")


@contextmanager
def socketd_server(text: str) -> Iterator[SocketdServer]:
    """
    Serve a configuration while a C{with} block runs.

    @param text: the INI file; C{tcp:0} is any free port, and C{:interface=127.0.0.1} keeps other
        machines out.
    @raise StartError: with all that is wrong in it, each with its line.
    """
    # In /tmp, as the path of a UNIX socket has 107 bytes at most (unix(7)).
    with TemporaryDirectory(prefix="socketd-", dir="/tmp") as directory:
        server = SocketdServer(Path(directory), text)
        try:
            yield server
        finally:
            server.stop()
