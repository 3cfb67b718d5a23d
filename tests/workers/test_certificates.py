"""Tests for L{socketd.workers.certificates}."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

from socketd.net.tls.context import ServerContext
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.workers.certificates import (
    Certificates,
    pack_certificates,
    take_certificates,
    unpack_certificates,
)
from socketd.workers.link import LinkFailed
from tests.net.tls.handshakes import ContextCase
from tests.support.certificates import authority, issued, issued_for, rsa_key

INI = "[echo]\nlisten = tls:0\ntls_certificate = {}\n[plain]\nprotocol = echo\nlisten = tcp:0\n"


class CertificateTests(ContextCase):
    """What the master has loaded, in a worker."""

    def pack(self, parts: Any) -> Certificates:
        """Pickle the parts of the context of a service."""
        services: Any = [
            SimpleNamespace(name="echo", context=SimpleNamespace(parts=parts)),
            SimpleNamespace(name="plain", context=None),
        ]
        return pack_certificates(services)

    def unpack(self, packed: Certificates) -> ServerContext:
        """Make the context of a worker."""
        settings = parse(INI.format(self.path("cert.pem")), "FILE", installed(), "/run/x")
        found = unpack_certificates(settings, packed)
        self.assertEqual(list(found), ["echo"])
        return found["echo"]

    def test_kinds(self) -> None:
        """Each kind of key serves there, with its chain, without any file."""
        keys = ed25519.Ed25519PrivateKey.generate(), rsa_key(), self.made.key
        for key in keys:
            self.made = issued_for(key, "www.example.org")
            self.write("cert.pem", self.made)
            packed = self.pack(self.context().parts)
            os.remove(self.path("cert.pem"))
            context = self.unpack(packed)
            self.assertFalse(context.changed())
            self.assertIs(self.served(context), self.made)

    def test_all_parts(self) -> None:
        """So do certificates of other names, and authorities of clients."""
        self.write("ca.pem", authority())
        other = self.name("other.example.org", issued("other.example.org"))
        context = self.context(tls_names=(other,), tls_client_ca=self.path("ca.pem"))
        parts = self.unpack(self.pack(context.parts)).parts
        self.assertEqual(parts, context.parts)

    def test_taken(self) -> None:
        """Others are used from then on; those that cannot be used change nothing."""
        context = self.unpack(self.pack(self.context().parts))
        before, self.made = self.made, issued("www.example.org", number=3)
        self.write("cert.pem", self.made)
        parts = self.context().parts
        take_certificates(context, self.pack(parts)["echo"])
        self.assertIs(self.served(context), self.made)
        assert parts is not None
        for key in before.key, ed448.Ed448PrivateKey.generate():
            bad = evolve(parts, default=evolve(parts.default, key=key))
            # Equal parts are in use already.
            bad = evolve(bad, authorities=(authority().certificate,))
            problem = self.assertRaises(
                LinkFailed, take_certificates, context, self.pack(bad)["echo"]
            )
            self.assertIn("tls_certificate: OpenSSL refuses it", str(problem))
        self.assertIs(self.served(context), self.made)

    def test_none(self) -> None:
        """A configuration without TLS has none."""
        settings = parse("[echo]\nlisten = tcp:0\n", "FILE", installed(), "/run/x")
        self.assertEqual(unpack_certificates(settings, {}), {})
