"""Adds C{socketd} to the services that C{twistd} can run."""

from __future__ import annotations

import gc
from typing import Any

from twisted.application.service import ServiceMaker


class SocketdMaker(ServiceMaker):
    """Imports what the service is made of when twistd runs it."""

    @property
    def options(self) -> Any:
        """
        The command line options.

        To import them is most of a start, and a tenth of that were collections which find no
        garbage; C{makeService} enables them again.
        """
        gc.disable()
        return super().options


socketd = SocketdMaker("socketd", "socketd.tap", "Answers sockets, from one INI file.", "socketd")
