"""A connection with a fault profile over a pair of sockets, turned by hand."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.access.policy import AccessPolicy, Deadlines
from tests.net.faults.faulty_case import drawn
from tests.support.fakes import HandReactor, Recorder, connect, make_service_state, read_all
from tests.support.polling import wait_until


class FaultyCase(SynchronousTestCase):
    """A test of a connection that misbehaves."""

    def connect(
        self,
        protocol: Any = None,
        small: bool = False,
        limits: Any = None,
        over_tcp: bool = False,
        **options: Any,
    ) -> None:
        """Make the connection, with a profile of these options."""
        self.reactor = HandReactor()
        policy = AccessPolicy(deadlines=Deadlines(**(limits or {})))
        self.service_state, self.events = make_service_state(self.reactor, policy=policy)
        self.protocol: Any = Recorder(bytes.upper) if protocol is None else protocol
        self.connection, self.peer = connect(
            self.reactor, self.protocol, self.service_state, small, drawn(**options), over_tcp
        )
        self.addCleanup(self.peer.close)
        self.addCleanup(self.connection.getHandle().close)

    def connect_tcp(self, protocol: Any = None, **options: Any) -> None:
        """Make the connection over TCP."""
        self.connect(protocol, over_tcp=True, **options)

    @property
    def acted(self) -> dict[str, int]:
        """On how many connections each fault has acted."""
        return dict(self.service_state.counters.faults)

    def ask(self, data: bytes) -> None:
        """Send from the peer, and let the connection receive."""
        self.peer.send(data)
        self.reactor.turn()

    def wait(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)
            self.reactor.turn()

    def wait_for_end(self) -> None:
        """Let time pass until the connection has ended; a peer may acknowledge late."""

        def has_ended() -> bool:
            self.reactor.advance(0.01)
            self.reactor.turn()
            return not self.connection.connected

        wait_until(has_ended)

    def answer(self) -> Any:
        """Read what the peer has been sent; C{None}: its connection was reset."""
        try:
            return read_all(self.peer)
        except ConnectionResetError:
            return None

    def reason(self) -> str:
        """Say how the connection ended, as the log has it."""
        (facts,) = self.events.named("connection_lost")
        return str(facts["reason"])
