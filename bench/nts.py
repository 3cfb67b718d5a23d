"""A request of Network Time Security: a server keeps nothing, so it can be sent again."""

from __future__ import annotations

import socket
import struct

from OpenSSL import SSL

from bench.load import LoadFailed
from bench.peers.listening import HOST
from tests.protocols.clock.nts_client import END, HEADER, USUAL, Client, read_records

#: A record that has a cookie.
COOKIE = 5

#: RFC 8915, section 5.1: NTPv4, AEAD_AES_SIV_CMAC_256; keys to the server and to the client.
LABEL, CONTEXTS, KEY = b"EXPORTER-network-time-security", ("0000000f00", "0000000f01"), 32

#: Seconds for all of the key establishment.
LIMIT = 5


def request(port: int) -> bytes:
    """
    Get a cookie, and write a request with it.

    The last half of its transmit timestamp is zero, as the load wants it.

    @raise LoadFailed: if there is no cookie.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"ntske/1"])
    try:
        with socket.create_connection((HOST, port), LIMIT) as sock:
            sock.setblocking(True)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", LIMIT, 0))
            tls = SSL.Connection(context, sock)
            tls.set_connect_state()
            tls.sendall(USUAL)
            answer = b""
            while not answer.endswith(END):
                answer += tls.recv(4096)
            keys = (tls.export_keying_material(LABEL, KEY, bytes.fromhex(c)) for c in CONTEXTS)
            cookies = [body for kind, _, body in read_records(answer) if kind == COOKIE]
            return Client(cookies[0], *keys).request(header=HEADER[:-4] + bytes(4))
    except (OSError, SSL.Error, IndexError) as error:
        raise LoadFailed(f"no cookie for NTS: {error!r}") from None
