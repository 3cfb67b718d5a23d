"""
A recording of the operator's console for README, from a real daemon at a real terminal.

C{RECORDING} names the SVG animation that termtosvg makes of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import read_to_end
from tests.support.source_tree import ROOT

INI = """
[socketd]
control = {runtime}/control.sock
[ack]
listen = tcp:12345:interface=127.0.0.1
"""

#: Of the terminal.
ROWS, COLUMNS = 18, 84

#: Seconds between two keys, and to read what happens.
KEY, READ = 0.07, 1.6

#: What depends on who makes it.
WHO = re.compile(r"uid \d+ gid \d+ pid \d+")

TERMTOSVG = ROOT / "build" / "termtosvg" / "bin" / "termtosvg"

#: In a window of its own, dark on light pages and on dark ones; the end stays for a while.
DRAWN = ("--template=window_frame", "--loop-delay=5000")

#: For readers who want no motion: the end.
CALM = """
@media (prefers-reduced-motion: reduce) { #screen_view {
    animation-delay: calc(1ms - var(--animation-duration)); animation-play-state: paused;
} }
"""


class Recording(SystemCase):
    """Makes it."""

    terminal_size = ROWS, COLUMNS

    def test_recording(self) -> None:
        """Clients ask; the operator looks, answers and bans."""
        self.events: list[tuple[float, str, str]] = []
        self.seen = 0
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            console = self.at_terminal("console", TERM="xterm")
            with console as (self.shown, self.keyboard):
                self.began = time.monotonic()
                self.see("attending")
                self.follow(daemon)
                os.write(self.keyboard, b"\x04")
        self.draw(Path(os.environ["RECORDING"]))

    def follow(self, daemon: Daemon) -> None:
        """Do what clients and the operator do."""
        with self.client(daemon, "127.0.0.1", b"hello"):
            self.see(r"input the word for ack 1 ")
            self.type("ok\r", "answer 1 ok")
        with (
            self.client(daemon, "127.0.0.2", b"are you there?"),
            self.client(daemon, "127.0.0.66", b"let me in, let me in"),
        ):
            self.see("2 waiting: ")
            self.type("/connections\r", "^3 .* yes")
            self.type("/show 3\r", "^FAULT")
            self.type("/ban 127.0.0.66 for 1h\r", " 1 waiting: ")
            self.type("yes, how can I help you?\r", " 0 waiting")
        self.see("m0 connections")
        self.type("bans\r", "^127.0.0.66")

    @contextlib.contextmanager
    def client(self, daemon: Daemon, host: str, text: bytes) -> Iterator[None]:
        """Have a client say something, and read what it is told."""
        with socket.create_connection(daemon.address("ack"), source_address=(host, 0)) as sock:
            sock.sendall(text)
            yield
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                read_to_end(sock)

    def type(self, text: str, expected: str = "") -> None:
        """Type at the console, key by key, and wait for what comes of it."""
        for key in text:
            os.write(self.keyboard, key.encode())
            self.record(KEY)
        if expected:
            self.see(expected)

    def see(self, expected: str) -> None:
        """Wait until the console shows something, and give time to read it."""
        self.shown.wait_for(expected)
        self.record(READ)

    def record(self, seconds: float) -> None:
        """Record what the console writes for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)
            text, self.seen = self.shown.text[self.seen :], len(self.shown.text)
            if text:
                self.events.append((time.monotonic() - self.began, "o", WHO.sub("uid 1000", text)))

    def draw(self, picture: Path) -> None:
        """Have the recording drawn; where motion is not wanted, its end is shown."""
        lines = [{"version": 2, "width": COLUMNS, "height": ROWS}, *self.events]
        cast = self.write("console.cast", "".join(json.dumps(line) + "\n" for line in lines))
        subprocess.run([TERMTOSVG, "render", cast, picture, *DRAWN], check=True)
        text = picture.read_text()
        picture.write_text(text.replace("</style>", f"{CALM}</style>", 1))
