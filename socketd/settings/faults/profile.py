"""A fault profile: its options, which of them contradict, and which services it suits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from attrs import frozen

from socketd.settings.faults.values import (
    ACCEPT,
    AFTER,
    BANDWIDTH,
    LATENCY,
    LOSS,
    NEVER_READ,
    PERCENT,
    REFUSE,
    REORDER,
    SILENT,
    SLICES,
    SLOW,
    Accept,
    After,
    Latency,
    Loss,
    Reorder,
    Slices,
    as_written,
)
from socketd.settings.options import declared, option
from socketd.settings.value_types import NUMBER, ValueType, choice, parse_word, within

#: What the name of the section of a profile begins with.
FAULT = "fault:"

#: The word for no profile, which no profile can have as its name.
OFF = "off"

#: Where the faults of a TLS service act: on the bytes of the socket, or on those of the protocol.
WIRE, PROTOCOL = ("wire", "protocol")


def parse_profile_name(text: str) -> str:
    """Parse the name of a profile; C{off} is none."""
    return "" if text == OFF else parse_word(text)


PROFILE = ValueType("profile (or off)", parse_profile_name)


@frozen
class FaultOptions:
    """The section C{[fault:NAME]}; C{None} is a fault that the profile does not have."""

    seed: int | None = option(
        NUMBER,
        None,
        "What the draws depend on: with the same seed a run repeats. By default one is drawn when"
        " a service takes the profile, and logged.",
    )
    share: float = option(
        PERCENT, 1.0, "How many connections or datagrams the profile is for; drawn for each."
    )
    first: int | None = option(
        within(NUMBER, 1, 10**9, "write 1 or more"),
        None,
        "How many connections it is for at most, or datagrams of each source; all by default.",
    )
    skip: int = option(
        NUMBER, 0, "How many connections, or datagrams of each source, come before the first."
    )
    latency: Latency | None = option(
        LATENCY,
        None,
        "How late what is sent leaves: a delay, a jitter, and whether that is uniform, normal or"
        " lognormal. The order of a stream stays.",
    )
    bandwidth: int | None = option(
        BANDWIDTH,
        None,
        "How many bytes a connection, or a source of datagrams, is sent in a second.",
    )
    slice: Slices | None = option(
        SLICES,
        None,
        "The pieces in which a connection is sent its bytes, and the pause between two. For"
        " streams.",
    )
    accept: Accept | None = option(
        ACCEPT,
        None,
        "What becomes of a connection: it is refused, is sent nothing, is never read, or waits"
        " until it is served. Of a datagram: it has no answer (silent), or does not reach the"
        " protocol (never-read).",
    )
    reset: After | None = option(
        AFTER, None, "When a connection is reset; the peer can read all bytes before. For streams."
    )
    close: After | None = option(AFTER, None, "When a connection is closed. For streams.")
    half_close: After | None = option(
        AFTER,
        None,
        "When the writing side of a connection is closed, which reads on. For streams.",
        name="half-close",
    )
    loss: Loss | None = option(
        LOSS,
        None,
        "How many answers are not sent, and how much that depends on the one before. For"
        " datagrams.",
    )
    duplicate: float | None = option(
        PERCENT, None, "How many answers are sent twice. For datagrams."
    )
    reorder: Reorder | None = option(
        REORDER,
        None,
        "How many answers are held until so many later ones are sent. For datagrams.",
    )
    corrupt: float | None = option(
        PERCENT, None, "How many answers have one bit inverted. For datagrams."
    )
    truncate: float | None = option(
        PERCENT, None, "How many answers are cut short. For datagrams."
    )
    at: str = option(
        choice(WIRE, PROTOCOL),
        WIRE,
        "Whether faults act below TLS and the PROXY header, or above. For streams.",
    )

    @property
    def action(self) -> str:
        """What C{accept} does; empty without it."""
        return self.accept.action if self.accept is not None else ""

    def given(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the values of those of these options that are not their default, by name."""
        values = {name: getattr(self, _KNOWN[name].attribute) for name in names}
        return {name: one for name, one in values.items() if one != _KNOWN[name].default}


# Not made again for each connection.
_KNOWN = declared(FaultOptions)

#: The ends of a stream.
RESET, CLOSE, HALF_CLOSE = ENDS = ("reset", "close", "half-close")

#: The ends that reset.
RESETS = (RESET, REFUSE)

#: The faults that act on streams, on the start and the end of one, and on datagrams.
SENDING = ("latency", "bandwidth", "slice")
STREAM_FAULTS = (*SENDING, "accept", *ENDS)
DATAGRAM_ONLY = ("loss", "duplicate", "reorder", "corrupt", "truncate")
DATAGRAM_FAULTS = ("latency", "bandwidth", "accept", *DATAGRAM_ONLY)
ALL_FAULTS = (*STREAM_FAULTS, *DATAGRAM_ONLY)

#: The options that have no meaning for datagrams, nor have these actions of C{accept}.
STREAM_ONLY = ("slice", *ENDS, "at")
STREAM_ACTIONS = (REFUSE, SLOW)

_NONE_TAKES = "which no listener here takes"


@frozen
class FaultProfile:
    """One profile."""

    name: str
    options: FaultOptions

    @property
    def counted(self) -> tuple[str, ...]:
        """The names by which its faults are counted: C{accept} is by what it does."""
        given = self.options.given(ALL_FAULTS)
        return tuple(self.options.action if one == "accept" else one for one in given)

    def describe(self, faults: tuple[str, ...] = ALL_FAULTS) -> str:
        """Format those of these faults that it has, as in the file."""
        return ", ".join(
            f"{name} {as_written(value)}" for name, value in self.options.given(faults).items()
        )

    def misfit(self, streams: bool, datagrams: bool) -> str:
        """
        Say why a service that has streams only, or datagrams only, cannot have this profile.

        @return: an empty string if it can.
        """
        if not datagrams and (wrong := self.options.given(DATAGRAM_ONLY)):
            only = "for datagrams only (a stream would be corrupted, not lossy)"
            return f"has {_and(wrong)}, {only}, {_NONE_TAKES}; write udp:PORT"
        if not streams and (wrong := self._stream_only()):
            return f"has {_and(wrong)}, for streams only, {_NONE_TAKES}; write tcp:PORT"
        return ""

    def _stream_only(self) -> dict[str, Any]:
        wrong, accept = self.options.given(STREAM_ONLY), self.options.accept
        if self.options.action in STREAM_ACTIONS:
            wrong[f"accept = {accept}"] = accept
        return wrong


def contradictions(options: FaultOptions) -> Iterator[tuple[str, str]]:
    """List the options that can never act, each with the reason; the name is empty for all."""
    if not options.given(ALL_FAULTS):
        yield "", "has no fault; write such as latency = 80ms"
    ends: dict[str, After] = options.given(ENDS)
    unreached = [name for name, end in ends.items() if end.size is not None]
    never = {
        REFUSE: ("slice", *ends),
        SILENT: ("bandwidth", "slice", *unreached, *DATAGRAM_ONLY),
        NEVER_READ: DATAGRAM_ONLY,
    }
    for name in options.given(never.get(options.action, ())):
        yield name, f"never acts with accept = {options.action}; remove one of the two"
    for first, later in _rivals(ends):
        yield later, f"never acts, because {first} = {ends[first]} does before; remove one"


def _rivals(ends: Mapping[str, After]) -> Iterator[tuple[str, str]]:
    """List the pairs of ends of which the first leaves nothing to the later one."""
    for pair in combinations(ends, 2):
        first, later = sorted(pair, key=lambda name: ends[name].size or ends[name].seconds or 0)
        one, other = ends[first], ends[later]
        if (one.size is None) != (other.size is None):
            continue
        if first != HALF_CLOSE or one == other or one.size is not None:
            yield first, later


def _and(names: Mapping[str, Any]) -> str:
    return " and ".join(names)
