"""Starts the daemon with a service of the web that has a certificate."""

from __future__ import annotations

from typing import ClassVar

from tests.interop.client_case import InteropCase
from tests.support.certificates import authority, issued
from tests.support.processes import Daemon


class WebClientCase(InteropCase):
    """
    A daemon for clients of HTTP and WebSocket.

    @cvar ini: its configuration, with C{server.pem} in C{{directory}}.
    @ivar ca: the path of the authority's certificate.
    """

    ini: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        issued("127.0.0.1").write(str(self.directory / "server.pem"))
        self.ca = str(self.write("ca.pem", authority().pem()))

    def serve_web(self) -> Daemon:
        """Start the daemon."""
        return self.serve(self.ini.format(directory=self.directory))
