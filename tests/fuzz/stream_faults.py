"""The fault profiles of the connections of both state machines."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import strategies as st

from socketd.faults.draws import ConnectionDraw
from socketd.net.stream.connection import StreamConnection
from socketd.settings.faults.profile import PROTOCOL, WIRE
from socketd.settings.faults.values import (
    NEVER_READ,
    REFUSE,
    SILENT,
    SLOW,
    Accept,
    After,
    Latency,
    Slices,
)
from tests.net.faults.faulty_case import drawn

#: Those that change nothing but when bytes leave.
DELAYS: list[dict[str, Any]] = [
    {"latency": Latency(0.05, 0.05)},
    {"latency": Latency(0.5), "slice": Slices(1, 9000)},
    {"bandwidth": 2_000_000},
    {"slice": Slices(5000, 9000, 0.01), "bandwidth": 4_000_000},
    {"accept": Accept(SLOW, 1.0)},
]

#: Those that end a connection, or keep something from its peer.
HARMS: list[dict[str, Any]] = [
    {"reset": After(size=1000), "latency": Latency(0.05)},
    {"close": After(size=70_000)},
    {"half_close": After(size=1), "reset": After(seconds=2.0)},
    {"close": After(seconds=1.0), "bandwidth": 100_000},
    {"reset": After(seconds=0.0)},
    {"close": After(seconds=0.0)},
    {"accept": Accept(REFUSE)},
    {"accept": Accept(SILENT)},
    {"accept": Accept(NEVER_READ)},
]

profiles = st.sampled_from([None, None, *DELAYS, *DELAYS, *HARMS])
places = st.sampled_from([WIRE, PROTOCOL])


def draw_of(options: dict[str, Any] | None, at: str = WIRE) -> ConnectionDraw | None:
    """Draw of a profile, if there is one."""
    return None if options is None else drawn(at=at, **options)


def held_by(connection: StreamConnection) -> int:
    """Say how many bytes a connection holds back."""
    fault = connection._fault
    return fault.held.size if fault is not None and fault.held is not None else 0


def waits_for_time(connection: StreamConnection) -> bool:
    """Say whether something will happen when time passes."""
    fault = connection._fault
    return fault is not None and (fault.rings_at < inf or fault.endless)


def may_be_read(connection: StreamConnection) -> bool:
    """Say whether the profile lets a connection be read."""
    return connection._fault is None or connection._fault.reads


def is_cut(connection: StreamConnection) -> bool:
    """Say whether the profile has ended the output."""
    return connection._fault is not None and connection._fault.is_cut
