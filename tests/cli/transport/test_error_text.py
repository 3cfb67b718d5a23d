"""Tests for L{socketd.cli.transport.error_text}."""

from __future__ import annotations

import errno
import os

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import defer, error
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.transport.error_text import explain
from socketd.common.errors import CommandError

REASONS: list[tuple[BaseException, str]] = [
    (CommandError("as it is"), "as it is"),
    (error.getConnectError((errno.ECONNREFUSED, "x")), "connection refused"),
    (error.getConnectError((errno.ENOENT, "x")), "no such file or directory"),
    (error.getConnectError((errno.ENETUNREACH, "x")), "network is unreachable"),
    (error.TCPTimedOutError(errno.ETIMEDOUT), "connection timed out"),
    (error.TimeoutError(), "no connection in time"),
    (defer.TimeoutError(), "no connection in time"),
    (error.DNSLookupError("nowhere"), "no such host"),
    (error.ConnectionLost(), "connection reset or lost"),
    (error.ConnectionAborted(), "connection reset or lost"),
    (error.ConnectionDone(), "connection closed"),
    (error.MessageLengthError("x"), "the message is too long for a datagram"),
    (OSError(errno.EACCES, os.strerror(errno.EACCES)), "permission denied"),
    (VerificationError(errors=[]), "TLS: the certificate is for another name"),
    (RuntimeError("what"), "RuntimeError: what"),
]

#: The reasons of OpenSSL.
TLS_REASONS = {
    "certificate verify failed": "certificate verify failed",
    "wrong version number": "the peer speaks something else (wrong version number)",
    "tlsv1 alert unknown ca":
        "the peer refused: our certificate is of an authority that it does not trust",
    "tlsv13 alert certificate required":
        "the peer refused: it wants a certificate of ours (--cert)",
    "ssl/tls alert bad certificate": "the peer refused: our certificate is bad or missing",
    "tlsv1 alert no application protocol":
        "the peer refused: it speaks none of the protocols that we offer (--alpn)",
    "tlsv1 alert protocol version": "the peer refused: it has no version of TLS that we take",
    "tlsv1 alert internal error": "the peer refused: internal error",
    "tlsv1 unrecognized name": "the peer refused: it is no server of that name",
}


class ExplainTests(SynchronousTestCase):
    """Tests for L{explain}."""

    def test_table(self) -> None:
        """Each failure is described in a few words."""
        for failed, words in REASONS:
            self.assertEqual(explain(failed), words)
        for reason, words in TLS_REASONS.items():
            self.assertEqual(explain(SSL.Error([("SSL routines", "", reason)])), f"TLS: {words}")
