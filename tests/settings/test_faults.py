"""Tests for L{socketd.settings.faults.profile}: profiles in a configuration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.faults.profile import DATAGRAM_FAULTS, STREAM_FAULTS, FaultOptions
from socketd.settings.faults.values import Accept, After, Latency, Loss, Reorder, Slices
from tests.settings.refusals import diagnostics, parsed

FULL = """
[fault:flaky]
seed = 7
share = 30%
first = 3
skip = 10
latency = 80ms jitter 20ms normal
bandwidth = 16KiB/s
slice = 1..16 every 50ms
accept = slow 5s
reset = after 100B
close = after 5s
loss = 10% burst 25%
duplicate = 2%
reorder = 5% gap 3
corrupt = 0.1%
truncate = 1%
at = protocol

[fault:half]
half-close = after 1KiB

[fault:lossy]
loss = 1%

[defaults]
fault = lossy

[echo]
listen = tcp:7, udp:7
fault = flaky

[stream]
listen = tcp:8

[datagram]
listen = udp:9
fault = off
"""

ECHO = "[echo]\nlisten = tcp:7, udp:7\n"
NAME = "is not a profile; write [fault:NAME], up to 32 letters, digits and . _ -, and not off"

#: What a file says, and what is wrong with it.
TABLE: list[tuple[str, list[str]]] = [
    # Names.
    (f"{ECHO}fault = flaki\n[fault:flaky]\nloss = 1%\n",
     ["FILE:3: [echo] fault = flaki: is not a profile of this file; did you mean flaky?"]),
    (f"{ECHO}fault = flaky\n",
     ["FILE:3: [echo] fault = flaky: is not a profile of this file; write a section"
      " [fault:flaky]"]),
    (f"[defaults]\nfault = flaky\n{ECHO}[stream]\nlisten = tcp:8\n",
     ["FILE:2: [defaults] fault = flaky: is not a profile of this file; write a section"
      " [fault:flaky]"]),
    (f"{ECHO}fault = a b\n", ["FILE:3: [echo] fault = a b: is not one word"]),
    (f"{ECHO}[fault:off]\nloss = 1%\n", [f"FILE:3: [fault:off]: {NAME}"]),
    (f"{ECHO}[fault: a]\nloss = 1%\n", [f"FILE:3: [fault: a]: {NAME}"]),
    (f"{ECHO}[fault:]\nloss = 1%\n", [f"FILE:3: [fault:]: {NAME}"]),
    (f"{ECHO}[fault:a]\nloss = 1%\n[fault:a]\nloss = 2%\n",
     ["FILE:5: [fault:a]: is there twice; join the two"]),
    # Options.
    (f"{ECHO}[fault:a]\nlos = 1%\nrate = 1KiB/s\nlisten = tcp:8\n",
     ["FILE:4: [fault:a] los: is not an option here; did you mean loss?",
      "FILE:5: [fault:a] rate: is not an option here; write bandwidth",
      "FILE:6: [fault:a] listen: is not an option here; write it in the section of a service, or"
      " in [defaults] for all"]),
    (f"{ECHO}latency = 80ms\n",
     ["FILE:3: [echo] latency: is not an option here; write it in a section [fault:NAME], and"
      " fault = NAME in that of the service"]),
    (f"{ECHO}[fault:a]\nlatency = 80\nshare = 1\n",
     ["FILE:4: [fault:a] latency = 80: is not a duration; write 250ms, 10s, 5m or 1h",
      "FILE:5: [fault:a] share = 1: is not a share; write 0% to 100%, such as 0.1%"]),
    (f"{ECHO}[fault:a]\nfirst = 0\nloss = 1%\n",
     ["FILE:4: [fault:a] first = 0: is out of range; write 1 or more"]),
    # What no listener takes.
    ("[stream]\nlisten = tcp:7\nfault = a\n[fault:a]\nloss = 1%\ncorrupt = 1%\nlatency = 1s\n",
     ["FILE:3: [stream] fault = a: has loss and corrupt, for datagrams only (a stream would be"
      " corrupted, not lossy), which no listener here takes; write udp:PORT"]),
    ("[datagram]\nlisten = udp:7\nfault = a\n[fault:a]\nslice = 1\nat = protocol\nloss = 1%\n",
     ["FILE:3: [datagram] fault = a: has slice and at, for streams only, which no listener here"
      " takes; write tcp:PORT"]),
    ("[datagram]\nlisten = udp:7\nfault = a\n[fault:a]\naccept = slow 5s\n",
     ["FILE:3: [datagram] fault = a: has accept = slow 5s, for streams only, which no listener"
      " here takes; write tcp:PORT"]),
    # Contradictions.
    (f"{ECHO}[fault:a]\nseed = 7\n",
     ["FILE:3: [fault:a]: has no fault; write such as latency = 80ms"]),
    (f"{ECHO}[fault:a]\nreset = after 100B\nclose = after 100B\n",
     ["FILE:5: [fault:a] close = after 100B: never acts, because reset = after 100B does before;"
      " remove one"]),
    (f"{ECHO}[fault:a]\nreset = after 500ms\nclose = at once\n",
     ["FILE:4: [fault:a] reset = after 500ms: never acts, because close = at once does before;"
      " remove one"]),
    (f"{ECHO}[fault:a]\nreset = after 100B\nclose = after 5s\nhalf-close = after 200B\n",
     ["FILE:6: [fault:a] half-close = after 200B: never acts, because reset = after 100B does"
      " before; remove one"]),
    (f"{ECHO}[fault:a]\nhalf-close = after 10B\nclose = after 20B\n",
     ["FILE:5: [fault:a] close = after 20B: never acts, because half-close = after 10B does"
      " before; remove one"]),
    (f"{ECHO}[fault:a]\nhalf-close = after 2s\nclose = after 1s\n",
     ["FILE:4: [fault:a] half-close = after 2s: never acts, because close = after 1s does before;"
      " remove one"]),
    (f"{ECHO}[fault:a]\naccept = refuse\nslice = 1\nreset = after 2s\n",
     ["FILE:5: [fault:a] slice = 1: never acts with accept = refuse; remove one of the two",
      "FILE:6: [fault:a] reset = after 2s: never acts with accept = refuse; remove one of the"
      " two"]),
    (f"{ECHO}[fault:a]\naccept = silent\nbandwidth = 1B/s\nclose = after 2B\n",
     ["FILE:5: [fault:a] bandwidth = 1B/s: never acts with accept = silent; remove one of the"
      " two",
      "FILE:6: [fault:a] close = after 2B: never acts with accept = silent; remove one of the"
      " two"]),
    (f"{ECHO}[fault:a]\naccept = never-read\nloss = 1%\n",
     ["FILE:5: [fault:a] loss = 1%: never acts with accept = never-read; remove one of the two"]),
]  # fmt: skip

#: Profiles that are right.
GOOD = [
    "accept = silent\nreset = after 2s",
    "accept = refuse\nlatency = 80ms\nloss = 1%",
    "reset = after 100B\nclose = after 5s",
    "half-close = after 1s\nclose = after 5s",
    "half-close = after 1KiB\nreset = after 5s",
    "accept = never-read\nslice = 1\nreset = after 100B",
]


class ProfileTests(SynchronousTestCase):
    """Tests for profiles that are right."""

    def test_options(self) -> None:
        """A profile has the values of its section."""
        self.assertEqual(
            parsed(FULL).faults["flaky"].options,
            FaultOptions(
                seed=7, share=0.3, first=3, skip=10, latency=Latency(0.08, 0.02, "normal"),
                bandwidth=16384, slice=Slices(1, 16, 0.05), accept=Accept("slow", 5.0),
                reset=After(size=100), close=After(seconds=5.0), loss=Loss(0.1, 0.25),
                duplicate=0.02, reorder=Reorder(0.05, 3), corrupt=0.001, truncate=0.01,
                at="protocol",
            ),
        )  # fmt: skip
        self.assertEqual(parsed(FULL).faults["half"].options.half_close, After(size=1024))

    def test_no_service(self) -> None:
        """A profile is not a service, and a service names one or none."""
        found = {service.name: service.common.fault for service in parsed(FULL).services}
        self.assertEqual(found, {"echo": "flaky", "stream": "lossy", "datagram": ""})
        self.assertEqual(list(parsed(FULL).faults), ["flaky", "half", "lossy"])

    def test_equal(self) -> None:
        """Profiles are equal when they say the same, wherever they stand."""
        moved = parsed("\n" + FULL).faults
        self.assertEqual(moved, parsed(FULL).faults)
        self.assertNotEqual(parsed(FULL.replace("seed = 7", "seed = 8")).faults, moved)

    def test_together(self) -> None:
        """Faults that can act in one connection are no contradiction."""
        for options in GOOD:
            self.assertEqual(diagnostics(f"{ECHO}[fault:a]\n{options}\n"), [], options)

    def test_inherited(self) -> None:
        """
        A profile of C{[defaults]} that is for datagrams is no mistake of a service that has
        streams.
        """
        self.assertEqual(parsed(FULL).faults["lossy"].misfit(True, True), "")
        self.assertNotEqual(parsed(FULL).faults["lossy"].misfit(True, False), "")

    def test_datagrams(self) -> None:
        """What may be slow or silent may be so without a stream."""
        for option in ("latency = 1s", "bandwidth = 1KiB/s", "accept = silent",
                       "accept = never-read"):  # fmt: skip
            text = f"[echo]\nlisten = udp:7\nfault = a\n[fault:a]\n{option}\n"
            self.assertEqual(diagnostics(text), [], option)

    def test_inherited_sockets(self) -> None:
        """The sockets of systemd may be of either kind, so each profile can be theirs."""
        text = "[echo]\nlisten = systemd:a\nfault = flaky\n"
        self.assertEqual(diagnostics(text + FULL.partition("[defaults]")[0]), [])

    def test_described(self) -> None:
        """A profile is told with the faults of streams, of datagrams, or with all."""
        found = parsed(FULL).faults
        self.assertEqual(
            found["flaky"].describe(STREAM_FAULTS),
            "latency 80ms jitter 20ms normal, bandwidth 16KiB/s, slice 1..16 every 50ms,"
            " accept slow 5s, reset after 100B, close after 5s",
        )
        self.assertEqual(
            found["flaky"].describe(DATAGRAM_FAULTS),
            "latency 80ms jitter 20ms normal, bandwidth 16KiB/s, accept slow 5s,"
            " loss 10% burst 25%, duplicate 2%, reorder 5% gap 3, corrupt 0.1%, truncate 1%",
        )
        self.assertEqual(found["half"].describe(), "half-close after 1KiB")


class DiagnosticTests(SynchronousTestCase):
    """Tests for profiles that are wrong."""

    def test_table(self) -> None:
        """Each mistake is told with its line and what to write."""
        for text, expected in TABLE:
            self.assertEqual(sorted(diagnostics(text)), sorted(expected), text)
