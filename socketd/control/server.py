"""
The control socket: its permissions and its session limit.

File permissions control access (owner and group, 0660 from the moment the socket
exists).
"""

from __future__ import annotations

import os
import stat

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from socketd.access.capacity import Capacity
from socketd.access.policy import AccessPolicy, Deadlines
from socketd.common.events import EventBus
from socketd.control.session import Refusal, Session
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import CannotStart
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.settings.listeners import Listener

#: Concurrent sessions: more than one machine's operators and their scripts need.
MAX_SESSIONS = 8

#: Connections over the limit that can be told so at the same time.
MAX_REFUSALS = 8

#: A client that reads none of its pending output for this long is reset (seconds).
STALL = 30.0

#: The listen(2) backlog.
BACKLOG = 16

MODE = 0o660
DIRECTORY_MODE = 0o750


def make_directory(path: str) -> None:
    """
    Create the control socket's directory; C{OSError} if it belongs to another user or is
    world-writable: any user who can write there could replace the socket.
    """
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=DIRECTORY_MODE)
        # Regardless of the umask: the socket's group must be able to reach it.
        os.chmod(directory, DIRECTORY_MODE)
    found = os.stat(directory)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
        raise PermissionError(f"{directory} is not a directory of this user only")


class SessionFactory(Factory):
    """Creates a session for each connection, up to L{MAX_SESSIONS} in C{sessions}."""

    noisy = False

    def __init__(self, daemon: Daemon) -> None:
        self.sessions: set[Session] = set()
        self._daemon = daemon

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        if len(self.sessions) < MAX_SESSIONS:
            return Session(self._daemon, self.sessions)
        text = f"there are {MAX_SESSIONS} sessions already"
        return Refusal(self._daemon.event_bus, text)


class OwnService(MultiService):
    """
    A service with a listener of the daemon's own, such as the control socket.

    Its connections use the same ports as all others, but belong to no service of the file: its
    limits do not apply to them, and no table, metric or console shows them.

    @ivar own: the listener.
    """

    def __init__(
        self,
        daemon: Daemon,
        name: str,
        listener: Listener,
        factory: Factory,
        policy: AccessPolicy | None = None,
    ) -> None:
        super().__init__()
        self.setName(name)
        self._daemon = daemon
        # A separate event bus, so that watchers of the daemon do not see these connections.
        self._service_state = ServiceState(
            name,
            EventBus(daemon.reactor),
            ConnectionTable(),
            log_connections=False,
            policy=policy or AccessPolicy(),
        )
        served_by = daemon.reactor, factory, self._service_state
        self.own = OwnListener(name, listener, daemon.settings.place(name), *served_by)
        daemon.own.append(self.own)

    def privilegedStartService(self) -> None:
        """Bind the listener; raise L{CannotStart} if that fails."""
        if reasons := self.own.bind():
            raise CannotStart(reasons)
        super().privilegedStartService()

    def startService(self) -> None:
        super().startService()
        self.own.serve()

    def close(self) -> None:
        """Close the listener; that of a path removes its file."""
        self.own.close()


class ControlService(OwnService):
    """The control socket of a daemon, at a path whose directory must exist."""

    def __init__(self, daemon: Daemon, path: str) -> None:
        self._factory = SessionFactory(daemon)
        capacity = Capacity(MAX_SESSIONS + MAX_REFUSALS)
        policy = AccessPolicy(capacity, deadlines=Deadlines(stall=STALL))
        listener = Listener("unix", path=path, mode=MODE, backlog=BACKLOG)
        super().__init__(daemon, "control", listener, self._factory, policy)

    def stopService(self) -> Deferred[None]:
        """Stop accepting, and end all sessions; one that stalls is reset."""
        super().stopService()
        self.close()
        for session in tuple(self._factory.sessions):
            session.finish()
        gone = self._service_state.when_empty()
        gone.addCallback(lambda _: self._service_state.wheel.stop())
        return gone
