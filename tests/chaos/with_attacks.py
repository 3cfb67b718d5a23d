"""A million datagrams for a fault profile that holds each for an hour."""

from __future__ import annotations

from tests.chaos import test_attacks


class HeldTests(test_attacks.HeldTests):
    """All of them."""

    timeout = 300
    count = 1_000_000
