"""What a daemon shows of itself: the values behind metrics, health, status and C{STATUS=}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from socketd.common.counters import Counters
from socketd.common.lag import Lag
from socketd.daemon.state import State

if TYPE_CHECKING:
    from socketd.faults.service_faults import ServiceFaults
    from socketd.net.tls.context import ServerContext


@frozen
class CertificatesSnapshot:
    """
    The certificates that a service uses.

    @ivar not_after: when the first of them expires (seconds since 1970).
    @ivar invalid: those that are not valid now, with their option and the reason.
    """

    not_after: float
    invalid: tuple[str, ...] = ()
    loads: int = 0
    failures: int = 0

    @classmethod
    def of(cls, context: ServerContext | None) -> CertificatesSnapshot | None:
        """Collect them; C{None} without TLS."""
        if context is None:
            return None
        invalid = tuple(f"{option}: {text}" for option, text in context.invalid())
        return cls(context.not_after, invalid, context.loads, context.failures)


@frozen
class FaultSnapshot:
    """
    The fault profile that is on at a service.

    @ivar connections: how many connections came since.
    @ivar names: the names by which its faults are counted.
    """

    profile: str
    seed: int
    connections: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, faults: ServiceFaults | None) -> FaultSnapshot | None:
        """Collect it; C{None} if no profile is on."""
        if faults is None:
            return None
        profile = faults.profile
        return cls(profile.name, faults.seed, faults.connections, profile.counted)


@frozen
class ServiceSnapshot:
    """
    One service.

    @ivar listeners: its bound listeners; none if a reload has removed the service.
    @ivar counters: its counters, with those of open connections.
    @ivar certificates: C{None} without TLS.
    @ivar fault: its fault profile; C{None}: none.
    @ivar kernel_drops: datagrams that the kernel dropped because the receive buffer was
        full; C{None} if there never was a datagram socket.
    """

    name: str
    connections: int
    counters: Counters
    protocol: str = ""
    listeners: tuple[str, ...] = ()
    certificates: CertificatesSnapshot | None = None
    kernel_drops: int | None = None
    fault: FaultSnapshot | None = None


@frozen
class WorkerSnapshot:
    """
    One worker.

    @ivar pid: its process; 0 if there is none.
    @ivar lag: of its event loop, and of those of the processes before it.
    """

    index: int
    pid: int
    is_serving: bool
    connections: int
    lag: Lag


@frozen
class Snapshot:
    """
    A daemon at one moment.

    @ivar health: C{serving}, another state, or the listener that is down or unreachable.
    @ivar uptime: seconds since the start.
    @ivar removed: services that reloads have removed, kept for their counters.
    @ivar waiting: the number of connections that wait for the operator.
    @ivar reloads: the number of reloads, by result: C{done} or C{refused}.
    @ivar worker_deaths: the number of workers that have died.
    @ivar workers: the workers; none if this process serves.
    """

    state: State
    health: str
    uptime: float = 0.0
    services: tuple[ServiceSnapshot, ...] = ()
    removed: tuple[ServiceSnapshot, ...] = ()
    connections: int = 0
    waiting: int = 0
    operators: int = 0
    bans: int = 0
    reloads: Mapping[str, int] = {}
    worker_deaths: int = 0
    workers: tuple[WorkerSnapshot, ...] = ()

    @property
    def invalid_certificates(self) -> tuple[str, ...]:
        """The certificates in use that are not valid now, one line each."""
        return tuple(
            f"[{service.name}] serves on; {text}"
            for service in self.services
            if service.certificates is not None
            for text in service.certificates.invalid
        )

    @property
    def summary(self) -> str:
        """The state in one line."""
        listeners = sum(len(service.listeners) for service in self.services)
        invalid = len(self.invalid_certificates)
        return (
            f"{self.state}: {len(self.services)} services at {listeners} listeners,"
            f" {self.connections} connections"
        ) + (f", certificates not valid: {invalid}" if invalid else "")
