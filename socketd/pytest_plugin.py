"""The fixture C{socketd_server} of pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from socketd import testing


@pytest.fixture
def socketd_server() -> Iterator[Callable[[str], testing.SocketdServer]]:
    """
    Start daemons, each on a configuration: C{socketd_server("[echo]\\nlisten = tcp:0")}.

    They stop at the end of the test. If it failed, pytest shows their logs.
    """
    servers: list[testing.SocketdServer] = []
    with ExitStack() as stack:

        def start(text: str) -> testing.SocketdServer:
            servers.append(stack.enter_context(testing.socketd_server(text)))
            return servers[-1]

        yield start
        for server in servers:
            print(server.log)
