"""Tests for L{socketd.daemon.reload}: listeners that stay, move, come and go."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from socketd.configuration import Configuration
from socketd.control.server import ControlService
from socketd.daemon import service
from socketd.daemon.daemon import FILE_CHECK, CHECK_INTERVAL
from socketd.net.listen import Bound, bind
from socketd.net.sockets.activation import Inherited, InheritedSocket
from socketd.net.sockets.bind import CannotListen
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions
from tests.daemon.reload_state import AFTER, BEFORE, backlog, options_of, snapshot
from tests.support.certificates import client_context, issued
from tests.support.daemons import ECHO, DaemonCase, descriptors

TLS = "[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {}\n"


class MovedTests(DaemonCase):
    """Tests for reloads that keep sockets: no peer is refused or lost."""

    def number(self, name: str = "echo", kind: str = "tcp") -> tuple[int, Any]:
        """Give the descriptor and the address of a listener's socket."""
        (found,) = (one for one in self.service(name).bound if one.listener.kind == kind)
        return found.sock.fileno(), found.sock.getsockname()

    def test_everything(self) -> None:
        """A file that changes everything is carried out, and told."""
        self.start(BEFORE)
        self.assertEqual(
            self.reloaded(AFTER),
            (
                "[socketd] log_level changed",
                "[socketd] log_quiet changed",
                "[socketd] max_connections changed",
                "[gone] removed",
                "[one] protocol, listen, log_messages, max_connections, max_per_source,"
                " idle_timeout, so_keepalive, so_rcvbuf, so_sndbuf changed",
                "[two] protocol, listen, log_connections, deny changed",
            ),
        )
        self.assertEqual(self.daemon.shared.capacity.limit, 40)
        self.assertIs(self.daemon.event_bus.level, LogLevel.debug)
        self.assertEqual(self.daemon.reloads, {"done": 1, "refused": 0})

    def test_nothing(self) -> None:
        """The same file changes nothing, and leaves every object as it is."""
        self.start(BEFORE)
        self.enter("one")
        before = snapshot(self.daemon)
        self.assertEqual(self.reloaded(BEFORE), ())
        after = snapshot(self.daemon)
        del before["settings"], after["settings"]
        self.assertEqual(after, before)

    def test_waiting_peer(self) -> None:
        """
        Who has connected and was not accepted yet when the file is read is served, by
        the new protocol.
        """
        self.start()
        held = self.number()
        sock = self.connect(self.address())
        sock.send(b"hello")
        self.reload(ECHO + "protocol = upper\n")
        self.assertEqual(self.receive(sock, 5), b"HELLO")
        self.assertEqual(self.number(), held)

    def test_waiting_datagram(self) -> None:
        """A datagram that has come and was not received yet is answered."""
        self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.sendto(b"hello", self.address(kind="udp"))
        self.reload("[echo]\nprotocol = upper\nlisten = udp:0:interface=127.0.0.1\n")
        self.turn()
        self.assertEqual(sock.recv(100), b"HELLO")

    def test_during_reload(self) -> None:
        """Who connects while the file is read is served."""
        socks: list[socket.socket] = []

        def configure() -> Configuration:
            socks.append(self.connect(self.address()))
            return self.configure()

        self.start(configure=configure)
        for number in range(5):
            self.reloaded(ECHO + f"max_per_source = {number + 10}\n")
        self.assertEqual([self.ask(sock) for sock in socks], [b"hello"] * 5)

    def test_other_service(self) -> None:
        """
        Two services change addresses: each socket stays, and each peer finds the
        service that is there now.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.{}\n"
        text += "[upper]\nlisten = tcp:0:interface=127.0.0.{}\n"
        self.start(text.format(1, 2))
        echo, upper = self.number(), self.number("upper")
        kept = self.enter()
        waiting = self.connect(self.address())
        self.assertEqual(
            self.reloaded(text.format(2, 1)), ("[echo] listen changed", "[upper] listen changed")
        )
        self.assertEqual((self.number(), self.number("upper")), (upper, echo))
        self.assertEqual(self.ask(waiting), b"HELLO")
        self.assertEqual(self.ask(kept), b"hello")

    def test_renamed_service(self) -> None:
        """A service with another name keeps the socket of the one before."""
        self.start()
        held = self.number()
        waiting = self.connect(self.address())
        changes = self.reloaded(ECHO.replace("[echo]", "[other]\nprotocol = echo"))
        self.assertEqual(changes, ("[echo] removed", "[other] added"))
        self.assertEqual(self.number("other"), held)
        self.assertEqual(self.ask(waiting), b"hello")

    def test_old_connections(self) -> None:
        """A connection keeps the protocol that it came to."""
        self.start()
        sock = self.enter()
        self.reloaded(ECHO + "protocol = upper\n")
        self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(self.ask(self.enter()), b"HELLO")

    def test_same_address_twice(self) -> None:
        """
        Two listeners for which the kernel chooses the port are two: both stay, and when
        the file has one, one goes.
        """
        twice = "[echo]\nlisten = tcp:0:interface=127.0.0.1, tcp:0:interface=127.0.0.1\n"
        self.start(twice)
        first, second = (one.sock.getsockname() for one in self.service().bound)
        self.reloaded(twice + "idle_timeout = 9s\n")
        names = [one.sock.getsockname() for one in self.service().bound]
        self.assertEqual(sorted(names), sorted((first, second)))
        self.assertEqual([self.ask(self.connect(name)) for name in names], [b"hello"] * 2)
        self.reloaded(ECHO)
        (left,) = (one.sock.getsockname() for one in self.service().bound)
        (gone,) = {first, second} - {left}
        self.assertRaises(ConnectionRefusedError, self.connect, gone)
        self.assertEqual(self.ask(self.connect(left)), b"hello")

    def test_skipped_listener(self) -> None:
        """
        An optional listener whose address was not there is tried again, though the file
        is the same, and this is told once; the others are not touched.
        """
        there = {"127.0.0.1"}

        def bind_there(
            listener: Listener, options: SocketOptions, *more: Any, **rest: Any
        ) -> Bound:
            if listener.interface not in there:
                raise CannotListen("no such address", absent=True)
            return bind(listener, options)

        self.patch(service, "bind", bind_there)
        text = ECHO.rstrip() + ", tcp:0:interface=127.0.0.2:optional=yes\n"
        self.start(text)
        sock, address = self.enter(), self.address()
        self.assertEqual(self.reloaded(text), ())
        there.add("127.0.0.2")
        self.assertEqual(self.reloaded(text), ("[echo] listens at tcp 127.0.0.2:0 now",))
        self.assertEqual(self.reloaded(text), ())
        self.assertEqual(self.address(), address)
        first, second = self.service().bound
        self.assertEqual(self.ask(self.connect(second.sock.getsockname())), b"hello")
        self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(len(self.events("listener_skipped")), 2)

    def test_removed_listener(self) -> None:
        """A listener that the file has no more is closed, and its neighbour is not."""
        self.start("[echo]\nlisten = tcp:0:interface=127.0.0.2, tcp:0:interface=127.0.0.1\n")
        gone, stays = (one.sock.getsockname() for one in self.service().bound)
        self.reloaded(ECHO)
        self.assertRaises(ConnectionRefusedError, self.connect, gone)
        self.assertEqual(self.ask(self.connect(stays)), b"hello")

    def test_backlog(self) -> None:
        """How many may wait changes at the socket that is there."""
        self.start("[echo]\nlisten = tcp:0:interface=127.0.0.1:backlog=9\n")
        held = self.number()
        self.assertEqual(backlog(self.service().bound[0].sock), 9)
        self.reloaded("[echo]\nlisten = tcp:0:interface=127.0.0.1:backlog=33\n")
        self.assertEqual(self.number(), held)
        self.assertEqual(backlog(self.service().bound[0].sock), 33)

    def test_option_set_and_not(self) -> None:
        """
        A socket option that comes into the file is set on the socket that is there; one
        that goes leaves it as a new socket would be.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
        self.start(text)
        bound = [one.sock for one in self.service().bound]
        before = [options_of(sock) for sock in bound]
        more = "so_linger = 0s\nso_keepalive = no\nso_broadcast = yes\nso_oobinline = yes\n"
        more += "so_sndbuf = 30KiB\nso_rcvbuf = 40KiB\ntcp_nodelay = no\ntcp_keepcnt = 7\n"
        self.reloaded(text + more + "tcp_user_timeout = 5s\nso_dontroute = yes\n")
        changed = [options_of(sock) for sock in bound]
        self.assertEqual(changed[0]["tcp_keepcnt"], 7)
        self.assertEqual(changed[1]["so_rcvbuf"], 2 * 40 * 1024)
        self.reloaded(text)
        numbers = [one.sock.fileno() for one in self.service().bound]
        self.assertEqual(numbers, [sock.fileno() for sock in bound])
        after = [options_of(one.sock) for one in self.service().bound]
        self.assertEqual(after, before)

    def test_option_of_another(self) -> None:
        """
        A socket that another service takes over has the options, the backlog and the mode
        of that one, and nothing of the one before.
        """
        listen = "listen = tcp:0:interface=127.0.0.1{}, unix:{{runtime}}/e.sock:mode={}\n"
        old = "[echo]\nso_linger = 0s\ntcp_keepcnt = 7\nso_oobinline = yes\n"
        new = "[upper]\ntcp_keepidle = 77s\nso_keepalive = no\n"
        self.start(old + listen.format(":backlog=9", 600))
        number = self.service().bound[0].sock.fileno()
        self.reloaded(new + listen.format(":backlog=33", 666))
        bound = self.service("upper").bound
        self.assertEqual(bound[0].sock.fileno(), number)
        found = options_of(bound[0].sock)
        mode = stat.S_IMODE(os.stat(f"{self.runtime}/e.sock").st_mode)
        fresh = self.make(new + listen.format(":backlog=33", 666).replace("e.sock", "f.sock"))
        fresh.privilegedStartService()
        self.assertEqual(found, options_of(fresh.services[0].bound[0].sock))
        self.assertEqual(mode, 0o666)

    def test_option_of_neighbour(self) -> None:
        """Where services exchange their addresses, the options go with the services."""
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.{}\ntcp_keepcnt = 7\n"
        text += "[upper]\nlisten = tcp:0:interface=127.0.0.{}\nso_oobinline = yes\n"
        self.start(text.format(1, 2))
        for numbers in ((2, 1), (1, 2)):
            self.reloaded(text.format(*numbers))
            echo, upper = (options_of(self.service(n).bound[0].sock) for n in ("echo", "upper"))
            self.assertEqual((echo["tcp_keepcnt"], echo["so_oobinline"]), (7, 0))
            self.assertEqual((upper["tcp_keepcnt"], upper["so_oobinline"]), (4, 1))

    def test_order(self) -> None:
        """The services stand in the order of the file, whatever stays or comes."""
        sections = {
            name: f"[{name}]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.{number}\n"
            for number, name in enumerate("abcde", 1)
        }
        self.start("".join(sections[name] for name in "abcd"))
        for order in ("dcba", "edcab", "bed", "abcde"):
            self.reloaded("".join(sections[name] for name in order))
            self.assertEqual([one.name for one in self.daemon.services], list(order))


class UnixReloadTests(DaemonCase):
    """Tests for the files of UNIX sockets."""

    TEXT = "[echo]\nlisten = unix:{runtime}/e.sock"

    def path(self) -> str:
        return f"{self.runtime}/e.sock"

    def test_file_stays(self) -> None:
        """The file of a socket that stays is the same all the time."""
        self.start(self.TEXT)
        before = os.stat(self.path())
        sock = self.connect(self.path())
        self.reloaded(self.TEXT + "\nprotocol = upper\n")
        self.assertEqual(os.stat(self.path()), before)
        self.assertEqual(self.ask(sock), b"HELLO")

    def test_file_of_renamed(self) -> None:
        """So it is where another service takes it over."""
        self.start(self.TEXT)
        before = os.stat(self.path())
        self.reloaded(self.TEXT.replace("[echo]", "[other]\nprotocol = echo"))
        self.assertEqual(os.stat(self.path()), before)
        self.assertEqual(self.ask(self.connect(self.path())), b"hello")

    def test_mode(self) -> None:
        """The mode changes at the file that is there."""
        self.start(self.TEXT + ":mode=600")
        before = os.stat(self.path())
        self.assertEqual(stat.S_IMODE(before.st_mode), 0o600)
        for mode in ("666", "660", "600"):
            self.reloaded(self.TEXT + f":mode={mode}")
            after = os.stat(self.path())
            self.assertEqual(after.st_ino, before.st_ino)
            self.assertEqual(stat.S_IMODE(after.st_mode), int(mode, 8))

    def test_backlog(self) -> None:
        """How many may wait changes at the socket that is there."""
        self.start(self.TEXT + ":backlog=1")
        self.reloaded(self.TEXT + ":backlog=3")
        for _ in range(4):
            self.waiting()
        self.assertRaises(BlockingIOError, self.waiting)

    def waiting(self) -> None:
        """Connect, unless too many wait."""
        sock = self.peer(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(self.path())

    def test_file_goes(self) -> None:
        """The file goes with its listener."""
        self.start(self.TEXT + ", tcp:0:interface=127.0.0.1")
        self.reloaded(ECHO)
        self.assertFalse(os.path.exists(self.path()))

    def test_file_goes_with_service(self) -> None:
        """It goes with its service, too."""
        self.start(self.TEXT + "\n[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        self.reloaded("[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        self.assertFalse(os.path.exists(self.path()))

    def test_file_goes_at_stop(self) -> None:
        """A file that went through a reload goes at the stop."""
        self.start(self.TEXT)
        self.reloaded(self.TEXT + "\nprotocol = upper\n")
        self.daemon.stopService()
        self.assertFalse(os.path.exists(self.path()))

    def test_file_of_another(self) -> None:
        """
        A file that another program has put there is not ours, before and after a reload:
        its mode stays, and it stays at the stop.
        """
        self.start(self.TEXT + ":mode=600")
        os.unlink(self.path())
        other = self.peer(socket.AF_UNIX)
        other.bind(self.path())
        other.listen()
        os.chmod(self.path(), 0o644)
        (complaint,) = self.refused(self.TEXT + ":mode=666\nprotocol = upper\n")
        self.assertIn("Address already in use", complaint)
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o644)
        self.daemon.stopService()
        self.assertTrue(os.path.exists(self.path()))

    def test_file_was_removed(self) -> None:
        """
        A file that was removed is there again after a reload that changes the
        service: peers cannot come in else.
        """
        self.start(self.TEXT + ":mode=600")
        before = len(descriptors())
        os.unlink(self.path())
        self.reloaded(self.TEXT + ":mode=660\nprotocol = upper\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o660)
        self.assertEqual(len(descriptors()), before)
        self.assertEqual(self.ask(self.connect(self.path())), b"HELLO")


class LostFileTests(DaemonCase):
    """Tests for UNIX sockets whose file is removed or replaced while they are served."""

    TEXT = (
        "[echo]\nlisten = unix:{runtime}/e, unixgram:{runtime}/g, tcp:0:interface=127.0.0.1\n"
        "[upper]\nlisten = unix:{runtime}/u\n"
    )

    def begin(self, text: str = TEXT) -> None:
        """Start the daemon, and have it look at the files once."""
        self.start(text)
        self.looks()

    def looks(self) -> None:
        self.reactor.pump([CHECK_INTERVAL] * FILE_CHECK)

    def own(self) -> ControlService:
        """Serve operators, too."""
        control = ControlService(self.daemon, f"{self.runtime}/c")
        control.privilegedStartService()
        control.startService()
        self.addCleanup(control.stopService)
        return control

    def ask_unix(self, path: str) -> bytes:
        return self.ask(self.connect(path))

    def test_healthy(self) -> None:
        """While the files are there, the daemon is healthy."""
        self.begin()
        self.own()
        self.assertEqual(self.daemon.snapshot().health, "serving")
        self.assertEqual(self.events("listener_unreachable"), [])

    def test_removed(self) -> None:
        """
        A file that is gone makes the daemon unhealthy, and the log says so once; after a
        reload of the same file peers come in, and the other listeners are as before.
        """
        self.begin()
        peer, tcp = self.connect(f"{self.runtime}/e"), self.address()
        os.unlink(f"{self.runtime}/e")
        said = f"echo cannot be reached at unix {self.runtime}/e: its file is gone;"
        said += " a reload makes another one"
        self.assertEqual(self.daemon.snapshot().health, said)
        self.looks()
        self.looks()
        self.assertEqual(self.events("listener_unreachable"), [said])
        changes = self.reloaded(self.TEXT)
        self.assertEqual(changes, (f"[echo] listens at unix {self.runtime}/e again",))
        self.assertEqual(self.daemon.snapshot().health, "serving")
        self.assertEqual(self.ask_unix(f"{self.runtime}/e"), b"hello")
        self.assertEqual((self.ask(peer), self.address()), (b"hello", tcp))
        os.unlink(f"{self.runtime}/e")
        self.looks()
        self.assertEqual(self.events("listener_unreachable"), [said] * 2)

    def test_socket_is_lost(self) -> None:
        """A listener whose socket the reactor has lost is there again after a reload."""
        self.begin()
        lost: Any = self.service("echo").bound[2]
        lost.port.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.daemon.snapshot().health, "a listener of echo is down")
        (change,) = self.reloaded(self.TEXT)
        self.assertEqual(change, "[echo] listens at tcp 127.0.0.1:0 again")
        self.assertEqual(self.daemon.snapshot().health, "serving")
        self.assertEqual(self.ask(self.enter()), b"hello")

    def test_waiting_peer(self) -> None:
        """Who had connected before the file was removed, and waits, is served."""
        self.begin()
        sock = self.connect(f"{self.runtime}/e")
        os.unlink(f"{self.runtime}/e")
        self.reloaded(self.TEXT)
        self.assertEqual(self.ask(sock), b"hello")

    def test_datagrams(self) -> None:
        """So it is for datagrams."""
        self.begin()
        path = f"{self.runtime}/g"
        os.unlink(path)
        self.assertIn("echo cannot be reached at unixgram", self.daemon.snapshot().health)
        self.reloaded(self.TEXT)
        sock = self.peer(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(f"{self.runtime}/mine")
        sock.sendto(b"hello", path)
        self.turn()
        self.assertEqual(sock.recv(100), b"hello")

    def test_another(self) -> None:
        """
        Where another program listens at the path the daemon is unhealthy, too; a reload is
        refused as long as that is so, and changes nothing.
        """
        self.begin()
        path = f"{self.runtime}/u"
        os.unlink(path)
        other = self.peer(socket.AF_UNIX)
        other.bind(path)
        other.listen()
        said = f"upper cannot be reached at unix {path}: another file is in its place"
        self.assertEqual(self.daemon.snapshot().health, said)
        (complaint,) = self.refused(self.TEXT)
        self.assertEqual(
            complaint,
            f"[upper] cannot listen at unix {path}: Address already in use;"
            " write another path in FILE:4",
        )
        other.close()
        self.reloaded(self.TEXT)
        self.assertEqual(self.ask_unix(path), b"HELLO")

    def test_own(self) -> None:
        """
        The daemon's own listeners are looked at as those of services; who is connected
        stays so.
        """
        self.begin()
        self.own()
        path = f"{self.runtime}/c"
        sock = self.connect(path)
        os.unlink(path)
        self.assertIn("control cannot be reached at unix", self.daemon.snapshot().health)
        changes = self.reloaded(self.TEXT)
        self.assertEqual(changes, (f"[socketd] control listens at unix {path} again",))
        self.assertEqual(self.daemon.snapshot().health, "serving")
        for one in (sock, self.connect(path)):
            one.send(b"status\n")
            self.assertIn(b"2 services", self.receive(one, 20))

    def test_own_is_refused(self) -> None:
        """
        Where the control socket cannot be had nothing changes; and where a service
        cannot, no other control socket stays behind.
        """
        self.begin()
        control = self.own()
        path = f"{self.runtime}/c"
        os.unlink(path)
        with open(path, "w"):
            pass
        more = "[reply]\nreply = x\nlisten = tcp:0:interface=127.0.0.1\n"
        (complaint,) = self.refused(self.TEXT + more)
        self.assertIn("control: cannot listen at", complaint)
        os.unlink(path)
        self.refused(self.TEXT + more.replace("tcp:0:interface=127.0.0.1", self.taken()))
        self.assertFalse(os.path.exists(path))
        self.reloaded(self.TEXT)
        self.assertTrue(os.path.exists(path))
        self.successResultOf(control.stopService())
        self.assertFalse(os.path.exists(path))

    def test_again_and_again(self) -> None:
        """However often that happens, nothing stays open."""
        self.begin()
        self.own()
        before = len(descriptors())
        for _ in range(50):
            for name in "egu":
                os.unlink(f"{self.runtime}/{name}")
            os.unlink(f"{self.runtime}/c")
            self.assertEqual(len(self.reloaded(self.TEXT)), 4)
        self.assertEqual(len(descriptors()), before)


class SecureTests(DaemonCase):
    """Tests for reloads between plain TCP and TLS."""

    def secure(self, sock: socket.socket) -> SSL.Connection:
        tls = SSL.Connection(client_context(), sock)
        tls.set_connect_state()
        for _ in self.turns():
            try:
                tls.do_handshake()
            except SSL.WantReadError:
                continue
            break
        return tls

    def ask_secure(self, tls: SSL.Connection, data: bytes = b"hello") -> bytes:
        """Say something over TLS, and wait for the answer."""
        tls.send(data)
        for _ in self.turns():
            with contextlib.suppress(SSL.WantReadError):
                return tls.recv(len(data))
        raise AssertionError  # turns() has failed

    def test_to_tls_and_back(self) -> None:
        """
        The socket stays when TLS comes and goes; new peers have to speak as the file
        says, and those that are in speak as they began.
        """
        secure = TLS.format(self.certify(issued("a.example")))
        self.start()
        held = self.service().bound[0].sock.fileno()
        plain = self.enter()
        waiting = self.connect(self.address())
        self.reloaded(secure)
        self.assertEqual(self.service().bound[0].sock.fileno(), held)
        tls = self.secure(waiting)
        self.assertEqual(self.ask_secure(tls), b"hello")
        self.assertEqual(self.ask(plain), b"hello")
        self.reloaded(ECHO)
        self.assertEqual(self.service().bound[0].sock.fileno(), held)
        self.assertEqual(self.ask_secure(tls), b"hello")
        self.assertEqual(self.ask(plain), b"hello")
        self.assertEqual(self.ask(self.enter()), b"hello")

    def test_other_certificate(self) -> None:
        """A file that names another certificate has it shown to new peers."""
        first, second = issued("a.example"), issued("b.example")
        self.start(TLS.format(self.certify(first, "a")))
        old = self.secure(self.enter(kind="tls"))
        self.reloaded(TLS.format(self.certify(second, "b")))
        new = self.secure(self.enter(kind="tls"))
        for tls, made in ((old, first), (new, second)):
            shown = tls.get_peer_certificate()
            assert shown is not None
            self.assertEqual(shown.to_cryptography(), made.certificate)
            self.assertEqual(self.ask_secure(tls), b"hello")

    def test_tickets_stay(self) -> None:
        """
        A reload of other options changes nothing that tickets are good for; another
        certificate does.
        """
        text = TLS.format(self.certify(issued("a.example"), "a"))
        self.start(text)
        before = self.default_context()
        self.reloaded(text + "idle_timeout = 9s\n")
        self.assertIs(self.default_context(), before)
        self.reloaded(TLS.format(self.certify(issued("b.example"), "b")))
        self.assertIsNot(self.default_context(), before)

    def default_context(self) -> SSL.Context:
        """Give what a new connection is served with."""
        context = self.service().context
        assert context is not None
        found: SSL.Context = context.serverConnectionForTLS(None).get_context()
        return found

    def test_handshake_goes_on(self) -> None:
        """Who is in the middle of a handshake finishes it."""
        self.start(TLS.format(self.certify(issued("a.example"))))
        sock = self.enter(kind="tls")
        text = TLS.format(self.certify(issued("b.example"), "b"))
        self.reloaded(text + "idle_timeout = 9s\n")
        self.assertEqual(self.ask_secure(self.secure(sock)), b"hello")


class InheritedReloadTests(DaemonCase):
    """Tests for sockets that systemd has handed over: they cannot be bound again."""

    TEXT = "[echo]\nlisten = systemd:web\n"

    def hand_over(self, *names: str) -> None:
        """Start with inherited sockets of these names."""
        found = []
        for name in names:
            sock = self.peer()
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            sock.setblocking(False)
            found.append(InheritedSocket(name, sock, sock.getsockname()))
        self.socks = [one.sock for one in found]
        self.names = [one.address for one in found]
        text = "".join(f"[s-{n}]\nprotocol = echo\nlisten = systemd:{n}\n" for n in names[1:])
        self.start(self.TEXT + text, inherited=Inherited(tuple(found)))

    def test_changed(self) -> None:
        """A service that changes keeps them, and who waits there."""
        self.hand_over("web")
        waiting = self.connect(self.names[0])
        self.reloaded(self.TEXT + "protocol = upper\n")
        self.assertEqual(self.ask(waiting), b"HELLO")

    def test_refused(self) -> None:
        """A reload that is refused leaves them open and served."""
        self.hand_over("web")
        text = f"[echo]\nprotocol = upper\nlisten = systemd:web, {self.taken()}\n"
        self.refused(text)
        self.assertEqual(self.ask(self.connect(self.names[0])), b"hello")

    def test_resumed(self) -> None:
        """A daemon that drains leaves them to systemd's queue, and serves that when it resumes."""
        self.hand_over("web")
        self.daemon.drain()
        waiting = self.connect(self.names[0])
        waiting.send(b"hello")
        self.turn()
        self.assertEqual(self.receive(waiting, 0), b"")
        self.assertEqual(self.daemon.resume(), ())
        self.assertEqual(self.receive(waiting, 5), b"hello")

    def test_other_service(self) -> None:
        """Another service can take one over."""
        self.hand_over("web")
        self.reloaded("[upper]\nlisten = systemd:web\n")
        self.assertEqual(self.ask(self.connect(self.names[0])), b"HELLO")

    def test_nobody_names_it(self) -> None:
        """
        A file that does not name one is refused, as at the start: its peers would wait
        without end.
        """
        self.hand_over("web", "more")
        (complaint,) = self.refused(self.TEXT)
        host, port = self.names[1]
        expected = f"no service names the inherited socket more ({host}:{port})"
        self.assertEqual(complaint, expected)
        self.assertEqual(self.ask(self.connect(self.names[1])), b"hello")

    def test_instead(self) -> None:
        """So it is with a service that has another listener instead."""
        self.hand_over("web")
        self.refused(ECHO)
        self.assertEqual(self.ask(self.connect(self.names[0])), b"hello")

    def test_missing(self) -> None:
        """A file that names one that was never handed over is refused."""
        self.hand_over("web")
        (complaint,) = self.refused(self.TEXT + "[upper]\nlisten = systemd:wep\n")
        self.assertIn("no such socket was handed over (there is web)", complaint)

    def test_moved_back(self) -> None:
        """Two services exchange theirs, and exchange them again."""
        text = "[echo]\nlisten = systemd:{}\n[s-more]\nprotocol = upper\nlisten = systemd:{}\n"
        self.hand_over("web", "more")
        for names in (("more", "web"), ("web", "more")) * 3:
            self.reloaded(text.format(*names))
            answers = [self.ask(self.connect(name)) for name in self.names]
            served = dict(zip(names, (b"hello", b"HELLO")))
            self.assertEqual(answers, [served["web"], served["more"]])
