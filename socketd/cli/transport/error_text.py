"""Describes connection errors in a few words."""

from __future__ import annotations

import os
import re

from twisted.internet import error
from twisted.internet.defer import TimeoutError as DeferredTimeout

from socketd.common.errors import CommandError

#: Descriptions by exception type; the first match counts, so subclasses come first.
SENTENCES: dict[type[BaseException], str] = {
    DeferredTimeout: "no connection in time",
    error.TimeoutError: "no connection in time",
    error.DNSLookupError: "no such host",
    error.ConnectionDone: "connection closed",
    error.ConnectionLost: "connection reset or lost",
    error.MessageLengthError: "the message is too long for a datagram",
}

#: OpenSSL's errors for a peer that does not speak TLS.
NO_TLS = (
    "wrong version number",
    "unexpected message",
    "http request",
    "packet length too long",
    "record layer failure",
    "bad record type",
)

#: Meanings of TLS alerts (RFC 8446, section 6.2) whose names alone are unclear to a client.
ALERTS = {
    "certificate required": "it wants a certificate of ours (--cert)",
    "unknown ca": "our certificate is of an authority that it does not trust",
    "bad certificate": "our certificate is bad or missing",
    "certificate expired": "our certificate expired",
    "unsupported certificate": "our certificate is not for clients",
    "certificate unknown": "it does not take our certificate",
    "no application protocol": "it speaks none of the protocols that we offer (--alpn)",
    "protocol version": "it has no version of TLS that we take",
    "handshake failure": "handshake failure (no common cipher, or no certificate of ours)",
    "unrecognized name": "it is no server of that name",
}

_ALERT = re.compile(r"(?:ssl|tls)\S*(?: alert)? (.+)")


def no_answer(seconds: float) -> CommandError:
    """Make the error for a peer that sent no reply within the timeout."""
    return CommandError(f"no answer within {seconds:g} s")


def explain(failed: BaseException) -> str:
    """Describe an error by a short phrase, without a full stop."""
    if isinstance(failed, CommandError):
        return str(failed)
    for error_type, sentence in SENTENCES.items():
        if isinstance(failed, error_type):
            return sentence
    number = getattr(failed, "osError", None) or getattr(failed, "errno", None)
    if isinstance(number, int) and number > 0:
        sentence = os.strerror(number)
        return sentence[:1].lower() + sentence[1:]
    return _explain_tls(failed) or f"{type(failed).__name__}: {failed}"


def _explain_tls(failed: BaseException) -> str:
    # By name, because the modules of these exceptions are imported only for TLS.
    module = type(failed).__module__.partition(".")[0]
    if module == "OpenSSL" and failed.args and isinstance(failed.args[0], list):
        return "TLS: " + ", ".join(_in_words(str(entry[-1])) for entry in failed.args[0])
    if module == "service_identity":
        return "TLS: the certificate is for another name"
    return ""


def _in_words(reason: str) -> str:
    if reason in NO_TLS:
        return f"the peer speaks something else ({reason})"
    if alert := _ALERT.fullmatch(reason):
        return f"the peer refused: {ALERTS.get(alert[1], alert[1])}"
    return reason
