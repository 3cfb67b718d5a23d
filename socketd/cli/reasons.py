"""
Why talking to a peer failed, in a few words.
"""

from __future__ import annotations

import os

from twisted.internet import error
from twisted.internet.defer import TimeoutError as DeferredTimeout

from socketd.cli.errors import CommandError

SENTENCES: dict[type[BaseException], str] = {
    DeferredTimeout: "no connection in time",
    error.TimeoutError: "no connection in time",
    error.DNSLookupError: "no such host",
    error.ConnectionDone: "connection closed",
    error.ConnectionLost: "connection reset or lost",
    error.MessageLengthError: "the message is too long for a datagram",
}
"""
Read in this order: subclasses first.
"""


def explain(failed: BaseException) -> str:
    """
    Say why something failed.

    @param failed: what was raised.
    @return: some words, without a full stop.
    """
    if isinstance(failed, CommandError):
        return str(failed)
    for kind, sentence in SENTENCES.items():
        if isinstance(failed, kind):
            return sentence
    number = getattr(failed, "osError", None) or getattr(failed, "errno", None)
    if isinstance(number, int) and number > 0:
        return _uncapitalized(os.strerror(number))
    return _explain_tls(failed) or f"{type(failed).__name__}: {failed}"


def _explain_tls(failed: BaseException) -> str:
    # By name: OpenSSL is loaded, and may be installed, only where an address asks for TLS.
    module = type(failed).__module__.partition(".")[0]
    if module == "OpenSSL" and failed.args and isinstance(failed.args[0], list):
        return "TLS: " + ", ".join(str(entry[-1]) for entry in failed.args[0])
    if module == "service_identity":
        return "TLS: the certificate is for another name"
    return ""


def _uncapitalized(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
