"""Packets of any sender, reflected."""

from __future__ import annotations

from typing import Any

from socketd.protocols.measure.keys import Keys
from tests.protocols.measure import stamp_wire as wire
from tests.protocols.measure.stamp_fakes import PRIVATE, Reflector

KEY = b"a key"

#: A sender that may be forged.
PUBLIC = ("192.0.2.1", 4711)


def make_reflector(flags: int) -> Reflector:
    """Make a reflector whose options the bits choose."""
    options: dict[str, Any] = {
        "sessions": bool(flags & 1),
        "timestamps": "ptp" if flags & 2 else "ntp",
        "location": bool(flags & 4),
        "keys": Keys("keys", {}, KEY) if flags & 24 else None,
        "dscp": frozenset(range(0, 64, 2)),
    }
    if options["keys"] is not None:
        options["authenticated"] = bool(flags & 16)
    return Reflector(**options)


def check_stamp(data: bytes) -> None:
    """
    Any packet has one answer or none. An answer is as long as its packet, or the base packet to
    a short one of a private network; it repeats what the sender said, and T3 is after T2. Without
    the key there is none where it is asked for. The first byte chooses the options.
    """
    if not data:
        return
    flags, packet = data[0], data[1:]
    reflector = make_reflector(flags)
    source = PUBLIC if flags & 32 else PRIVATE
    if flags & 64 and len(packet) >= wire.AUTHENTICATED:
        packet = packet[:96] + wire.mac(KEY, packet[:96]) + packet[112:]
    for _ in range(2):
        found = reflector.ask(packet, source)
        if found is not None:
            check_answer(packet, found, source == PUBLIC, bool(flags & 16))
    assert not reflector.transport.refused
    counts = reflector.record.counters.probes
    assert all(count > 0 for count in counts.values())
    if flags & 16 and not _is_signed(packet):
        assert found is None


def check_answer(packet: bytes, found: bytes, is_public: bool, is_authenticated: bool) -> None:
    """See that an answer can be taken for one to its packet."""
    assert len(found) == (len(packet) if is_public else max(len(packet), wire.OPEN))
    asked, answered = (
        (wire.AUTHENTICATED_SENDER, wire.AUTHENTICATED_REFLECTOR)
        if is_authenticated
        else (wire.SENDER, wire.REFLECTOR)
    )
    said, told = wire.read(asked, packet[:112].ljust(112, b"\0")), wire.read(answered, found)
    for name in ("sequence", "timestamp", "error"):
        assert told[f"sender_{name}"] == said[name], name
    assert told["received"] != told["timestamp"]
    if is_authenticated:
        assert _is_signed(found)


def _is_signed(packet: bytes) -> bool:
    return len(packet) >= 112 and wire.mac(KEY, packet[:96]) == packet[96:112]
