"""
Starts the real daemon, collects what it writes, and checks how it ends.

What these tests do blocks, and everything that they wait for has a deadline.  No test
sleeps; it reads until what it waits for is there.
"""

from __future__ import annotations

import ctypes
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from typing import Any, ClassVar

from attrs import frozen
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.needs import missing
from tests.support.polling import DEADLINE
from tests.support.sockets import read_exactly

TWISTD = (str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=")

_FAMILIES = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
}

#: Variables that would lead a daemon away from the test's own files.
HIDDEN = ("SOCKETD_CONFIG", "RUNTIME_DIRECTORY", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

# pidfd_getfd(2) has no function in Python; its number is the same everywhere.
_PIDFD_GETFD = 438


class Output:
    """What a child writes, as it comes; one character for each byte."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor
        self._seen = 0
        self._ended = False
        self._changed = Condition()
        self._thread = Thread(target=self._collect, daemon=True)
        self._thread.start()

    def wait_for(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """
        Wait until a pattern appears behind what was waited for before.

        @raise AssertionError: if it does not appear in time, or the child ends.
        """
        expected = re.compile(pattern, re.MULTILINE)
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._find(expected), timeout)
            found = self._find(expected)
            if found is None:
                raise AssertionError(f"no {pattern!r} in:\n{self.text[self._seen:]}")
            self._seen = found.end()
            return found

    def find(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """Wait until a pattern appears anywhere; what is waited for next stays the same."""
        with self._changed:
            seen, self._seen = self._seen, 0
            try:
                return self.wait_for(pattern, timeout)
            finally:
                self._seen = seen

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(DEADLINE)

    def _find(self, expected: re.Pattern[str]) -> re.Match[str] | None:
        return expected.search(self.text, self._seen)

    def _collect(self) -> None:
        for data in _pieces(self._descriptor):
            with self._changed:
                self.text += data.decode("latin-1")
                self._changed.notify_all()
        os.close(self._descriptor)
        with self._changed:
            self._ended = True
            self._changed.notify_all()


#: A process, what is typed for it, and what it writes to standard output and error.
Started = tuple["subprocess.Popen[bytes]", int, Output, Output]


class Daemon:
    """
    A running daemon; at the end of its C{with} block it is stopped and must end well.

    @ivar pid: its process id.
    @ivar output: what it writes to standard output.
    @ivar errors: what it writes to standard error; a terminal takes both.
    """

    def __init__(self, command: Sequence[str], terminal: bool = False, **how: Any) -> None:
        start = _start_at_terminal if terminal else _start_at_pipes
        started = start(command, start_new_session=True, **how)
        self._process, self._keyboard, self.output, self.errors = started
        self.pid = self._process.pid
        self._asked = 0

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, kind: Any, problem: BaseException | None, traceback: Any) -> None:
        if problem is None:
            self.stop()
        else:
            self.kill()
            if not isinstance(problem, SkipTest):
                both = dict.fromkeys((self.output, self.errors))
                print("the daemon wrote:", *(output.text for output in both), sep="\n")

    def address(self, service: str, kind: str = "tcp") -> Any:
        """
        Find out where a service listens, as its log says it.

        @return: what C{connect} takes.
        """
        found = self.output.find(rf"\b{service} listens on {kind} (.*?)\r?$")[1]
        if kind == "unix":
            return found
        host, _, port = found.rpartition(":")
        return host.strip("[]"), int(port)

    def connect(self, service: str, kind: str = "tcp") -> socket.socket:
        address = self.address(service, kind)
        sock = socket.socket(*_FAMILIES[kind])
        sock.settimeout(DEADLINE)
        sock.connect(address)
        return sock

    def listening_socket(self, service: str, kind: str = "tcp") -> socket.socket:
        """
        Get hold of the daemon's own socket.

        @raise SkipTest: if this system does not allow that.
        """
        address = self.address(service, kind)
        for sock in _sockets_of(self.pid):
            if sock.type == _FAMILIES[kind][1] and sock.getsockname()[:2] == address:
                return sock
            sock.close()
        raise AssertionError(f"no socket is bound to {address}")

    def _files(self, name: str) -> list[Path]:
        """List a file of proc(5) for each of its processes: it and its workers."""
        return [Path(f"/proc/{pid}/{name}") for pid in (self.pid, *children(self.pid))]

    def descriptors(self) -> int:
        """Count what it has open."""
        return sum(len(os.listdir(path)) for path in self._files("fd"))

    def resident(self) -> int:
        """Say how much memory it has (KiB; proc(5), statm)."""
        pages = sum(int(path.read_text().split()[1]) for path in self._files("statm"))
        return pages * resource.getpagesize() // 1024

    def private_bytes(self) -> int:
        """Say how much memory it has for itself (proc(5), smaps_rollup)."""
        lines = [line for path in self._files("smaps_rollup") for line in path.open()]
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def processor_seconds(self) -> float:
        """Say how much processor time it has used (proc(5), stat)."""
        found = [path.read_text().rpartition(")")[2].split() for path in self._files("stat")]
        ticks = sum(int(fields[11]) + int(fields[12]) for fields in found)
        return ticks / os.sysconf("SC_CLK_TCK")

    def type(self, text: str) -> None:
        """Type at the daemon's console."""
        os.write(self._keyboard, text.encode())

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, once, and do not wait; open connections may have to end first."""
        if not self._asked:
            self._asked = number
            self.signal(number)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop, as systemd would; nothing may go wrong, and nothing may be left."""
        self.ask_to_stop()
        status = self.wait()
        text = self.output.text
        assert "Traceback" not in text and "Unhandled" not in text, text
        assert "stopping; " in text, f"it was killed:\n{text}"
        assert status == 0, f"it ended with {status}:\n{text}"
        assert self.errors is self.output or not self.errors.text, self.errors.text

    def wait(self) -> int:
        """Wait for the end, and see that no process is left."""
        try:
            status = self._process.wait(DEADLINE)
            assert not self._signal(0), "a process is left"
        finally:
            self.kill()
        return status

    def kill(self) -> None:
        """End at once, with all that it started; nothing if that was done."""
        keyboard, self._keyboard = self._keyboard, -1
        if keyboard < 0:
            return
        self._signal(signal.SIGKILL)
        self._process.wait(DEADLINE)
        self.output.join()
        self.errors.join()
        os.close(keyboard)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


@frozen
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str


class SystemCase(SynchronousTestCase):
    """
    A test of the real daemon, with a directory of its own.

    @cvar terminal_size: rows and columns of the terminal of a subcommand; 0: unknown.
    @ivar directory: for its files and sockets; a short path, as UNIX sockets need it.
    @cvar first: the id of the first connection from 127.0.0.1; C{second}: of the next one.
    """

    terminal_size: ClassVar[tuple[int, int]] = (0, 0)
    first, second = 1, 2

    def setUp(self) -> None:
        made = TemporaryDirectory(prefix="socketd-")
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)

    def daemon(self, ini: str, *options: str, **how: Any) -> Daemon:
        """
        Start a daemon.

        @param ini: its configuration.
        @param options: more of its command line.
        @param how: see L{twistd}.
        """
        file = self.write("socketd.ini", ini)
        return self.twistd("--config", str(file), *options, **how)

    def twistd(
        self, *options: str, before: Sequence[str] = (), twistd: Sequence[str] = (), **how: Any
    ) -> Daemon:
        """
        Start a daemon with a command line.

        @param before: a command that starts the daemon, such as one in another namespace.
        @param twistd: options of twistd itself.
        @param how: C{terminal=True}, or arguments of C{subprocess.Popen}.
        """
        given: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        daemon = Daemon([*before, *TWISTD, *twistd, "socketd", *options], **(given | how))
        self.addCleanup(daemon.kill)
        return daemon

    def run_both(self, *files: str | Path, **environ: str) -> tuple[Ended, Ended]:
        """
        Run a daemon that does not come up, and C{socketd check} of the same file.

        @param files: the file, or none.
        @param environ: more of the environment.
        @return: how the daemon and the check ended.
        """
        with ThreadPoolExecutor() as pool:
            check = pool.submit(self.run_check, *files, **environ)
            return self.run_twistd(*files, **environ), check.result()

    def run_check(self, *files: str | Path, **environ: str) -> Ended:
        """Run C{socketd check}; see L{run_both}."""
        return self.run_socketd("check", *map(str, files), **environ)

    def run_socketd(self, *words: str, **environ: str) -> Ended:
        """Run a subcommand to its end."""
        return self._run_to_end([sys.executable, "-m", "socketd", *words], environ)

    def output_of(self, *words: str, **environ: str) -> str:
        """Run a subcommand that succeeds and complains of nothing; return what it prints."""
        ended = self.run_socketd(*words, **environ)
        self.assertEqual((ended.status, ended.errors), (0, ""))
        return ended.output

    def run_twistd(self, *files: str | Path, **environ: str) -> Ended:
        """Run a daemon that does not come up; see L{run_both}."""
        named = [f"--config={file}" for file in files]
        return self._run_to_end([*TWISTD, "socketd", *named], environ)

    @contextmanager
    def at_terminal(self, *words: str, **environ: str) -> Iterator[tuple[Output, int]]:
        """
        Run a subcommand at a terminal, as C{self.process}; it has to end by itself, and to leave
        the terminal as it was.

        @return: what it shows, and the descriptor to type at.
        """
        keyboard, screen = pty.openpty()
        termios.tcsetwinsize(keyboard, self.terminal_size)
        before = termios.tcgetattr(keyboard)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "socketd", *words],
            stdin=screen, stdout=screen, stderr=screen, env=self.environment(**environ),
        )  # fmt: skip
        os.close(screen)
        try:
            shown = Output(os.dup(keyboard))
            yield shown, keyboard
            self.assertEqual(self.process.wait(DEADLINE), 0)
            self.assertEqual(termios.tcgetattr(keyboard), before)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(keyboard)

    def check_echo(
        self, sock: socket.socket, data: bytes = b"hello", answer: bytes | None = None
    ) -> None:
        """Send data to the daemon, and check the answer; by default it is the same."""
        expected = data if answer is None else answer
        sock.sendall(data)
        self.assertEqual(read_exactly(sock, len(expected)), expected)

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file into the directory."""
        file = self.directory / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def environment(self, **more: str) -> dict[str, str]:
        """Make the environment of a child."""
        kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        return kept | {"XDG_RUNTIME_DIR": str(self.directory)} | more

    def _run_to_end(self, command: Sequence[str], environ: dict[str, str]) -> Ended:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment(**environ),
            cwd=self.directory,
            timeout=DEADLINE,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def children(pid: int) -> list[int]:
    """List the child processes of a process (proc(5))."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sorted(map(int, found.split()))


def _start_at_pipes(command: Sequence[str], **how: Any) -> Started:
    stdin, keyboard = os.pipe()
    stdout, output = os.pipe()
    stderr, errors = os.pipe()
    given: dict[str, Any] = {"stdin": stdin, "stdout": output, "stderr": errors}
    process = subprocess.Popen(command, **(given | how))
    for descriptor in given.values():
        os.close(descriptor)
    return process, keyboard, Output(stdout), Output(stderr)


def _start_at_terminal(command: Sequence[str], **how: Any) -> Started:
    keyboard, screen = pty.openpty()
    process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, **how)
    os.close(screen)
    output = Output(os.dup(keyboard))
    return process, keyboard, output, output


def _pieces(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 65536):
            yield data
    except OSError:
        pass  # so a terminal ends whose last process is gone


def _sockets_of(pid: int) -> Iterator[socket.socket]:
    """Duplicate the sockets of another process."""
    if not hasattr(os, "pidfd_open"):
        raise missing("pidfd_open(2)", "Python is built for an older kernel")
    process = os.pidfd_open(pid)
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(link).startswith("socket:"):
                yield socket.socket(fileno=_duplicate(process, int(link.name)))
    finally:
        os.close(process)


def _duplicate(process: int, descriptor: int) -> int:
    found = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
    if found < 0:
        raise missing("pidfd_getfd(2)", os.strerror(ctypes.get_errno()))
    return int(found)
