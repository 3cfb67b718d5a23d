"""
A machine in a container: systemd as its first process, or nothing that runs by itself; a network
of its own with nothing but loopback, and a disk that forgets everything when it stops.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

#: Seconds until it has started everything; it takes 2.
BOOT = 60.0

#: Seconds that any command in the machine may take.
COMMAND = 60.0

#: Seconds until it has stopped; then it is killed.
STOP = 20.0

#: Seconds between two looks at something that takes a while.
LOOK = 0.1

#: What commands in the machine have in place of this machine's environment.
ENVIRON = (
    "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
)  # fmt: skip

#: The first program of a machine that is not booted: it says that the machine is complete.
_IDLE = ("--as-pid2", "sh", "-c", "echo ready; exec sleep infinity")

_PR_SET_PDEATHSIG = 1


class MachineError(Exception):
    """The machine does not do what every machine does."""


class Machine:
    """One machine."""

    def __init__(self, tree: Path, shared: dict[str, Path], boots: bool = True) -> None:
        """
        Start it.

        @param tree: its disk; nothing in it is changed.
        @param shared: folders of this machine that it can read, by where it has them.
        @param boots: whether its own systemd starts its services.
        @raise MachineError: if it does not come up.
        """
        self._boots = boots
        name = f"socketd-{tree.name}-{os.getpid()}"
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay",
            # As on any machine, the clock may be read.
            "--system-call-filter=adjtimex clock_adjtime", "--private-network",
            f"--machine={name}", f"--directory={tree}",
        ]  # fmt: skip
        command += [f"--bind-ro={folder}:{place}" for place, folder in shared.items()]
        self._said = Path(f"{name}.console").resolve()
        self._console = self._said.open("wb")
        self._process = subprocess.Popen(
            [*command, *(["--boot"] if boots else _IDLE)],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )
        try:
            self._first = self._wait_for_boot(time.monotonic() + BOOT)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait_for_boot(self, deadline: float) -> int:
        """
        @return: the number of its first process, as this machine has it.
        """
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while time.monotonic() < deadline and self._process.poll() is None:
            children = path.read_text().split()
            if children:
                self._first = int(children[0])
                if self._is_up():
                    return self._first
            time.sleep(LOOK)
        said = self._said.read_text(errors="replace")
        raise MachineError(f"the machine did not come up:\n{said[-2000:]}")

    def _is_up(self) -> bool:
        if not self._boots:
            return b"ready" in self._said.read_bytes()
        state = self.run("systemctl", "is-system-running")
        return state.stdout.strip() in ("running", "degraded")

    def run(
        self, *command: str, text: str = "", seconds: float = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a command as root, and wait for it.

        @param text: its standard input.
        @param seconds: how long it may take.
        """
        return subprocess.run(
            self._inside(command),
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Run a command as root, and do not wait."""
        return subprocess.Popen(
            self._inside(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_die_with_parent,
        )

    def place(self, path: str) -> Path:
        """Say where something of the machine is for this one."""
        return Path(f"/proc/{self._first}/root{path}")

    def _inside(self, command: Sequence[str]) -> list[str]:
        enter = ["nsenter", f"--target={self._first}", "--all", "--", "env", "-i", *ENVIRON]
        return [*enter, *command]

    def stop(self) -> None:
        """Switch it off."""
        if self._boots:
            self.run("systemctl", "poweroff")
        else:
            self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._console.close()


def _die_with_parent() -> None:
    # A machine must not outlive tests that were killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
