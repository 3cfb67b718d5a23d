"""The options of C{stamp}."""

from __future__ import annotations

from attrs import frozen

from socketd.protocols.measure.keys import KEYS, Keys
from socketd.protocols.spec import udp_amplify_option
from socketd.settings.options import option
from socketd.settings.value_types import YES_NO, ValueType, choice, parse_list

_DSCPS = 64

#: What a sender may ask for by default.
ALL_DSCPS = frozenset(range(_DSCPS))


def parse_dscps(text: str) -> frozenset[int]:
    """Parse C{any}, C{none}, or numbers."""
    if text in ("any", "none"):
        return ALL_DSCPS if text == "any" else frozenset()
    words = parse_list(text, r"[,\s]")
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError("is no list of DSCPs; write any, none, or numbers as 0 10 46")
    found = frozenset(map(int, words))
    if max(found) >= _DSCPS:
        raise ValueError(f"has a DSCP that is too large; write 0 to {_DSCPS - 1}")
    return found


@frozen
class StampOptions:
    """The options of C{stamp}."""

    sessions: bool = option(
        YES_NO,
        True,
        "Whether answers are counted by source and SSID, so that a sender can tell loss on the way"
        " to this host from loss on the way back; no: they have the numbers of the questions.",
    )
    keys: Keys | None = option(
        KEYS, None, "The keys of the sessions, by SSID; it is read when the configuration is."
    )
    authenticated: bool | None = option(
        YES_NO,
        None,
        "Whether only authenticated packets are answered, as is the default with keys; no: the"
        " keys are those of HMAC TLVs only.",
    )
    timestamps: str = option(
        choice("ntp", "ptp"), "ntp", "The format of the timestamps of this host."
    )
    dscp: frozenset[int] | None = option(
        ValueType("any | none | numbers (0 10 46)", parse_dscps),
        None,
        "The DSCPs that a sender may ask for; by default any.",
    )
    location: bool = option(
        YES_NO, True, "Whether a sender is told the addresses and ports of its packets here."
    )
    udp_amplify: int | None = udp_amplify_option(
        None, "; by default 44, and only to loopback and private networks"
    )
