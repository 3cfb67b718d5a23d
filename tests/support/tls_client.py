"""A client of TLS that takes turns with the daemon."""

from __future__ import annotations

import socket

from OpenSSL import SSL

from tests.support.fakes import HandReactor

#: Turns after which everything that can happen has happened.
TURNS = 12


class TlsClient:
    """
    The other end: TLS over a socket that does not block.

    @ivar received: what was decrypted.
    @ivar ended: how it ended: C{close_notify} in TLS, C{end} or C{reset} of the socket.
    @cvar turns: how many both sides take at a time.
    """

    turns = TURNS

    def __init__(self, reactor: HandReactor, sock: socket.socket, tls: SSL.Connection) -> None:
        self.reactor = reactor
        self.sock = sock
        self.tls = tls
        self.received = b""
        self.ended: list[str] = []
        self.waiting = b""
        tls.set_connect_state()

    def go(self, turns: int = 0, reading: bool = True) -> None:
        """
        Let both sides do what they can.

        @param turns: how often; as often as L{turns} says if 0.
        """
        for _ in range(turns or self.turns):
            self.step()
            self.push()
            self.reactor.turn()
            if reading:
                self.pull()

    def step(self) -> None:
        """Go on with the handshake, and decrypt."""
        try:
            self.tls.do_handshake()
            while True:
                self.received += self.tls.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            if "close_notify" not in self.ended:
                self.ended.append("close_notify")
        except SSL.Error as problem:
            self.fail(problem)

    def fail(self, problem: SSL.Error) -> None:
        """Take it that OpenSSL has failed: nothing that a test expects."""
        raise problem

    def push(self) -> None:
        """Send what is encrypted, as far as the socket takes it."""
        try:
            while self.waiting or self.fetch():
                self.waiting = self.waiting[self.sock.send(self.waiting) :]
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass

    def fetch(self) -> bool:
        """Take what is to be sent."""
        try:
            self.waiting = self.tls.bio_read(65536)
        except SSL.WantReadError:
            return False
        return True

    def pull(self) -> None:
        """Receive."""
        while self.ended[-1:] not in (["end"], ["reset"]):
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.ended.append("reset")
                return
            if data:
                self.tls.bio_write(data)
                self.step()
            else:
                self.ended.append("end")

    def say(self, data: bytes) -> None:
        """Encrypt and send, and see what comes of it."""
        while data:
            data = data[self.tls.send(data) :]
        self.go()
