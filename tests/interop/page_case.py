"""Starts the daemon with a status page, and a browser."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any, ClassVar

from tests.interop.client_case import InteropCase
from tests.support.browser import Browser, Tab
from tests.support.processes import Daemon

INI = """
[socketd]
http = tcp:0
control = {directory}/control.sock
[fault:slow]
latency = 5ms
seed = 1
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
[ack]
listen = tcp:0:interface=127.0.0.1
operator = auto
operator_timeout = 60s
"""

#: Who attends, as the page says it.
OPERATORS = "document.getElementById('operators').textContent"


class StatusPageCase(InteropCase):
    """A daemon with a status page, and a browser."""

    timeout: ClassVar[float] = 300
    ini = INI

    def setUp(self) -> None:
        super().setUp()
        self.browser = Browser("--host-resolver-rules=MAP *.example 127.0.0.1")
        self.addCleanup(self.browser.close)
        self.stack = ExitStack()
        ini = self.ini.format(directory=self.directory)
        self.running: Daemon = self.stack.enter_context(self.daemon(ini))
        self.addCleanup(self.stack.close)
        host, port = self.running.address("http")
        self.origin = f"http://{host}:{port}"

    def secret_url(self) -> str:
        """Ask the daemon for the URL with the token."""
        url = self.output_of("web", "--control", f"{self.directory}/control.sock")
        self.assertTrue(url.startswith(f"{self.origin}/#token="), url)
        return url.strip()

    def open(self, url: str = "", **how: Any) -> Tab:
        """Open the page, and wait until it is connected."""
        tab = self.browser.open(url or f"{self.origin}/", **how)
        tab.wait_for("document.getElementById('state')?.textContent.startsWith('serving')")
        return tab

    def operator(self, name: str = "anna") -> Tab:
        """Open the page with the token, as an operator of some name."""
        tab = self.open(self.secret_url())
        tab.wait_for("document.getElementById('rights').textContent === 'changes allowed'")
        tab.type("#name", name)
        tab.click("#attend")
        tab.click("#key button")
        tab.wait_for(f"{OPERATORS}.includes('(this page)')")
        return tab

    def show(self, tab: Tab, view: str) -> None:
        """Go to a view by its link, with the keyboard."""
        tab.run(f"document.querySelector('nav a[href=\"#{view}\"]').focus()")
        tab.press("Enter", 13)
        tab.wait_for(f"!document.getElementById('{view}').hidden")

    def client(self, service: str = "ack", message: bytes = b"") -> socket.socket:
        """Connect a client, which may say something."""
        sock = self.stack.enter_context(self.running.connect(service))
        if message:
            sock.sendall(message)
        return sock
