"""Tests for the comparison of what the daemon says with what the clients saw."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.soak import verdict
from tests.soak.instrumented import Census
from tests.soak.client_counts import ClientCounts
from tests.soak.samples import Sample
from tests.soak.server import Figures

#: What a daemon says that has served one service.
SAID = """
socketd_connections_open{service="NAME"} 0
socketd_connections_total{service="NAME"} 10
socketd_received_bytes_total{service="NAME"} 100
socketd_sent_bytes_total{service="NAME"} 90
socketd_messages_received_total{service="NAME"} 7
socketd_connections_refused_total{service="NAME",reason="network"} 2
socketd_connections_refused_total{service="NAME",reason="tls_handshake"} 1
socketd_connections_overdue_total{service="NAME",reason="idle_timeout"} 3
socketd_datagrams_received_total{service="NAME"} 20
socketd_datagrams_sent_total{service="NAME"} 15
socketd_datagrams_unsent_total{service="NAME"} 1
socketd_datagrams_dropped_total{service="NAME",reason="too_long"} 2
socketd_datagrams_kernel_dropped_total{service="NAME"} 4
socketd_serving 1
socketd_bans 0
socketd_config_reloads_total{result="done"} 6
socketd_config_reloads_total{result="refused"} 5
"""

RELOADS = {"done": 6, "refused": 5}


def counts(name: str = "echo") -> ClientCounts:
    """What clients saw of L{SAID}."""
    found = ClientCounts()
    expected = found.service(name)
    expected.connects, expected.round_trips = 12, 7
    expected.sent, expected.received = 100, 90
    expected.asked, expected.answered, expected.silent, expected.unbound = 24, 15, 2, 1
    expected.refused.update({"network": 2, "tls_handshake": 1})
    expected.overdue["idle_timeout"] = 3
    expected.dropped["too_long"] = 2
    return found


def wrong(seen: ClientCounts, said: str = SAID, name: str = "echo") -> list[str]:
    """List what differs."""
    found = verdict.compare(seen, Figures(said.replace("NAME", name)), RELOADS)
    return [str(one) for one in found if not one.holds]


def sample(objects: int = 1000, blocks: int = 5000) -> Sample:
    return Sample(1.0, 50, 60_000_000, Census(objects, blocks, {"a": 7}))


class CompareTests(SynchronousTestCase):
    """Tests for L{tests.soak.verdict.compare}."""

    def test_equal(self) -> None:
        """What fits, fits."""
        self.assertEqual(wrong(counts()), [])

    def test_each_figure(self) -> None:
        """Each figure that is one more than the clients have seen differs, whichever it is."""
        lines = [line for line in SAID.splitlines() if line]
        for line in lines:
            name, _, value = line.rpartition(" ")
            said = SAID.replace(line, f"{name} {int(value) + 1}")
            if "messages_received" in line:
                # There may be more receives than messages, never fewer.
                said = SAID.replace(line, f"{name} {int(value) - 1}")
            self.assertNotEqual(wrong(counts(), said), [], line)

    def test_each_entry(self) -> None:
        """Each entry of the counts that is one more than the daemon has counted differs."""
        names = ("connects", "round_trips", "sent", "received", "asked", "answered", "unbound")
        for name in names:
            seen = counts()
            expected = seen.service("echo")
            setattr(expected, name, getattr(expected, name) + 1)
            self.assertNotEqual(wrong(seen), [], name)
        for name in ("refused", "overdue", "dropped"):
            seen = counts()
            getattr(seen.service("echo"), name)["other"] += 1
            self.assertNotEqual(wrong(seen), [], name)

    def test_aborted(self) -> None:
        """
        Of what was aborted some may have arrived: no more than was sent, and no less than
        was received.
        """
        seen = counts("misuse")
        expected = seen.service("misuse")
        expected.sent, expected.aborted, expected.aborted_sent = 80, 1, 20
        expected.aborted_received = 0
        self.assertEqual(wrong(seen, name="misuse"), [])
        expected.aborted_sent = 19
        self.assertEqual(wrong(seen, name="misuse"), ["misuse: bytes in: 100 is not in 80 to 99"])
        expected.aborted_sent, expected.aborted_received = 20, 1
        self.assertEqual(wrong(seen, name="misuse"), ["misuse: bytes out: 90 is not in 91 to 100"])

    def test_tallies(self) -> None:
        """What a protocol counts is exact, unless the kernel has lost datagrams."""
        figure = 'socketd_probes_total{service="NAME",class="open",result="late"} 7\n'
        for lost, said, tallied in ((0, 7, 7), (0, 7, 6), (0, 7, 8), (4, 7, 11), (4, 7, 12)):
            seen = counts()
            seen.service("echo").tallies["probes_total", "open late"] = tallied
            text = (SAID + figure).replace('"NAME"} 4\n', f'"NAME"}} {lost}\n')
            seen.service("echo").asked = 20 + lost
            is_right = abs(said - tallied) <= lost
            self.assertEqual(wrong(seen, text) == [], is_right, (lost, tallied))

    def test_faults(self) -> None:
        """A profile's lost datagrams are not owed, and its duplicates are answers, too."""
        more = 'socketd_faults_total{service="NAME",fault="loss"} 5\n'
        more += 'socketd_faults_total{service="NAME",fault="duplicate"} 3\n'
        seen = counts("lossy")
        seen.service("lossy").silent = 0
        self.assertEqual(wrong(seen, SAID + more, "lossy"), [])
        self.assertNotEqual(wrong(seen, SAID, "lossy"), [])

    def test_in_doubt(self) -> None:
        """A refusal that a peer cannot tell from a reset may be one."""
        seen = counts()
        seen.service("echo").refused["network"] = 1
        self.assertNotEqual(wrong(seen), [])
        seen.service("echo").possibly_refused["network"] = 1
        self.assertEqual(wrong(seen), [])


class FlatTests(SynchronousTestCase):
    """Tests for what the daemon holds."""

    def test_same(self) -> None:
        """As much as before, or a little more, is right."""
        after = sample(objects=1000 + verdict.MAX_OBJECTS)
        found = verdict.compare_resources(sample(), after)
        self.assertTrue(all(one.holds for one in found))

    def test_resident(self) -> None:
        """Resident memory is compared with that of half way."""
        before, middle, after = (
            attrs.evolve(sample(), resident=size * verdict.MAX_RESIDENT) for size in (1, 3, 4)
        )
        self.assertTrue(all(one.holds for one in verdict.compare_resources(before, after, middle)))
        held = [one.what for one in verdict.compare_resources(before, after) if not one.holds]
        self.assertEqual(held, ["resident bytes"])

    def test_more(self) -> None:
        """One descriptor more is too many, or one less; so is too much of anything else."""
        before = sample()
        for after in (
            attrs.evolve(before, descriptors=51),
            attrs.evolve(before, descriptors=49),
            attrs.evolve(before, resident=before.resident + verdict.MAX_RESIDENT + 1),
            sample(objects=1001 + verdict.MAX_OBJECTS),
            sample(blocks=5001 + verdict.MAX_BLOCKS),
            attrs.evolve(before, census=Census(1000, 5000, {}, verdict.MAX_HEAP + 1)),
        ):
            found = [one for one in verdict.compare_resources(before, after) if not one.holds]
            self.assertEqual(len(found), 1, after)

    def test_processes(self) -> None:
        """What may be more is so for each process, of which all is added."""
        one = Census(1000, 5000, {"a": 7, "b": 1}, 100)
        self.assertEqual(one + one, Census(2000, 10000, {"a": 14, "b": 2}, 200))
        before = attrs.evolve(sample(), processes=3)
        most = 3 * verdict.MAX_OBJECTS
        for more, is_flat in ((most, True), (most + 1, False)):
            after = attrs.evolve(sample(objects=1000 + more), processes=3)
            held = verdict.compare_resources(before, after)
            self.assertEqual(all(one.holds for one in held), is_flat)

    def test_lag(self) -> None:
        """Timers may be a little later in the second half than in the first, not much."""
        ticks = (0, 10, 20, 30, 40)
        for lags, is_flat in (((0, 1, 2, 3, 4), True), ((0, 1, 2, 9, 19), False)):
            samples = [
                attrs.evolve(sample(), lag=float(lag), ticks=count)
                for lag, count in zip(lags, ticks)
            ]
            (found,) = verdict.compare_lag(samples)
            self.assertEqual(found.holds, is_flat)
        self.assertEqual(list(verdict.compare_lag(samples[:3])), [])

    def test_grown(self) -> None:
        """The types of which there are more are named, the most of them first."""
        after = attrs.evolve(sample(), census=Census(0, 0, {"a": 9, "b": 5, "c": 0}))
        self.assertEqual(verdict.grown(sample(), after), ["+5 b", "+2 a"])

    def test_log(self) -> None:
        """The log may grow with time and with what is told of each reload."""
        self.assertGreater(verdict.log_limit(20, 0), verdict.log_limit(10, 0))
        self.assertGreater(verdict.log_limit(10, 1), verdict.log_limit(10, 0))
