"""The plain Twisted peer with TLS: C{TLSMemoryBIOFactory} on the reactor that Twisted chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.ssl import PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory

from bench.peers.listening import BACKLOG, BESIDE, HOST, announce
from bench.peers.tls_listening import read_options
from bench.peers.twisted_plain import Echo


def serve(reactor: Any, port: int, certificates: Path) -> None:
    """Serve the echo in plain and over TLS until the process is ended."""
    both = [(certificates / name).read_bytes() for name in ("server.key", "server.pem")]
    options = PrivateCertificate.loadPEM(b"".join(both)).options()
    echo = Factory.forProtocol(Echo)
    secure = TLSMemoryBIOFactory(options, False, Factory.forProtocol(Echo), reactor)
    reactor.listenTCP(port, secure, BACKLOG, BESIDE)
    reactor.listenTCP(port, echo, BACKLOG, HOST)
    reactor.callWhenRunning(announce, port)
    reactor.run()


if __name__ == "__main__":
    from twisted.internet import reactor as chosen

    serve(chosen, *read_options("plain Twisted: TLS echo"))
