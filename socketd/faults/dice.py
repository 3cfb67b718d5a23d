"""
Draws that depend on a key alone.

A generator with a state would make a draw depend on those before it, and so on the order in
which connections come, and would cost 2.5 KB for each of them.
"""

from __future__ import annotations

from hashlib import blake2b
from math import cos, exp, log, pi, sqrt

from socketd.settings.faults.values import LOGNORMAL, MAX_SECONDS, UNIFORM, Latency

#: A float has 53 bits; with one less, and a half added, a draw is neither 0 nor 1.
_BITS = 52
_RANGE = float(1 << _BITS)


def draw(*key: object) -> float:
    """Draw a number between 0 and 1, both excluded, from a uniform distribution."""
    text = "/".join(map(str, key))
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 64 - _BITS) + 0.5) / _RANGE


def delay(latency: Latency, *key: object) -> float:
    """
    Draw a delay in seconds, from 0 to L{MAX_SECONDS}.

    The jitter is half of the width of C{uniform}, and the standard deviation of the other
    two; the base is the mean.
    """
    base, jitter = latency.base, latency.jitter
    if not jitter:
        return base
    if latency.distribution == UNIFORM:
        found = base + jitter * (2 * draw(*key) - 1)
    elif latency.distribution == LOGNORMAL:
        variance = log(1 + (jitter / base) ** 2)
        found = exp(log(base) - variance / 2 + sqrt(variance) * _normal(*key))
    else:
        found = base + jitter * _normal(*key)
    return min(max(found, 0.0), MAX_SECONDS)


def _normal(*key: object) -> float:
    """Draw from the standard normal distribution (the transform of Box and Muller)."""
    return sqrt(-2 * log(draw(*key))) * cos(2 * pi * draw(*key, "angle"))
