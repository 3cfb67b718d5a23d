"""
What the clients saw: for each service, to be compared with what the daemon counted; and
for each kind of load, for people.

Each client keeps a ledger of its own, so that nobody waits for anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs
from attrs import define, field


@define
class Account:
    """
    What clients did at one service, and what they saw of it.

    @ivar connects: connections that the kernel made.
    @ivar rounds: messages whose answer was awaited before the next one.
    @ivar sent: bytes of connections that ended well.
    @ivar received: bytes of these.
    @ivar torn: connections that ended otherwise: not all may have arrived.
    @ivar torn_sent: bytes that the kernel took for these.
    @ivar torn_received: bytes that came on them.
    @ivar asked: datagrams that the kernel took.
    @ivar answered: datagrams that came back.
    @ivar unnamed: datagrams from a socket without address.
    @ivar silent: datagrams that have no answer.
    @ivar refused: connections that the door did not let in, or that were refused for
        what they began with, by reason.
    @ivar perhaps: connections that may have been refused, by reason: a peer cannot tell
        that from a reset a moment later.
    @ivar overdue: connections that a deadline ended, by its name.
    @ivar dropped: datagrams that must be dropped, by reason.
    """

    connects: int = 0
    rounds: int = 0
    sent: int = 0
    received: int = 0
    torn: int = 0
    torn_sent: int = 0
    torn_received: int = 0
    asked: int = 0
    answered: int = 0
    unnamed: int = 0
    silent: int = 0
    refused: Counter[str] = field(factory=Counter)
    perhaps: Counter[str] = field(factory=Counter)
    overdue: Counter[str] = field(factory=Counter)
    dropped: Counter[str] = field(factory=Counter)


@define
class Deeds:
    """
    What one kind of load did.

    @ivar times: exchanges from begin to end.
    @ivar bytes: bytes in both directions.
    @ivar checked: replies that were as they should be.
    """

    times: int = 0
    bytes: int = 0
    checked: int = 0


@define
class Ledger:
    """Accounts by service, and deeds by kind of load."""

    accounts: dict[str, Account] = field(factory=dict)
    deeds: dict[str, Deeds] = field(factory=dict)

    def account(self, service: str) -> Account:
        """The account of a service."""
        return self.accounts.setdefault(service, Account())

    def deed(self, kind: str) -> Deeds:
        """What a kind of load did."""
        return self.deeds.setdefault(kind, Deeds())


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """Add up the ledgers of all clients."""
    found = Ledger()
    for ledger in ledgers:
        for service, account in ledger.accounts.items():
            _add(found.account(service), account)
        for kind, deeds in ledger.deeds.items():
            _add(found.deed(kind), deeds)
    return found


def _add(whole: Account | Deeds, part: Account | Deeds) -> None:
    for one in attrs.fields(type(whole)):
        setattr(whole, one.name, getattr(whole, one.name) + getattr(part, one.name))
