"""A UDP client that counts what is lost, comes twice, or comes late, of numbered datagrams."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from math import sqrt

from bench.load import LoadFailed
from bench.peers.listening import BESIDE

#: The rates of the profile, and the correlation of a loss with the one before.
LOSS, BURST, DUPLICATE, REORDER, GAP = 0.1, 0.25, 0.02, 0.05, 3

#: The profile; its seed is fixed, so that two versions of the daemon lose the same datagrams.
LOSSY = f"""\
seed = 7
loss = {LOSS:.0%} burst {BURST:.0%}
duplicate = {DUPLICATE:.0%}
reorder = {REORDER:.0%} gap {GAP}
"""

#: Datagrams that are sent.
COUNT = 100_000

#: Datagrams that are sent ahead of the newest answer: far fewer than a receive buffer takes, so
#: that the kernel drops none.
WINDOW = 64

#: Seconds without an answer after which the newest ones are taken for lost, while more are to be
#: sent and at the end: the latter is longer than a reordered answer waits for others.
GAP_SECONDS, LAST_SECONDS = 0.05, 3.0

_BUFFER = 1 << 20


@dataclass
class Shares:
    """
    What has come back.

    @ivar answered: the numbers that were answered.
    @ivar duplicates: answers that came again.
    @ivar late: answers that came after one with a higher number.
    """

    answered: set[int] = field(default_factory=set)
    duplicates: int = 0
    late: int = 0
    highest: int = -1

    def note(self, number: int) -> None:
        """Count an answer."""
        if number in self.answered:
            self.duplicates += 1
            return
        self.answered.add(number)
        self.late += number < self.highest
        self.highest = max(self.highest, number)

    @property
    def lost(self) -> int:
        """How many were not answered."""
        return COUNT - len(self.answered)

    @property
    def deviations(self) -> dict[str, float]:
        """
        The distance of each count from its mean, in standard deviations: of a binomial
        distribution, and for losses with a correlation r, sqrt((1 + r) / (1 - r)) times that.
        """
        kept = COUNT - self.lost
        return {
            "loss": _deviation(self.lost, COUNT, LOSS) / sqrt((1 + BURST) / (1 - BURST)),
            "duplicate": _deviation(self.duplicates, kept, DUPLICATE),
            "reorder": _deviation(self.late, kept, REORDER),
        }

    def __str__(self) -> str:
        """The counts, each with its deviation."""
        counts = {"loss": self.lost, "duplicate": self.duplicates, "reorder": self.late}
        return ", ".join(f"{n} {counts[n]} ({d:+.1f} sigma)" for n, d in self.deviations.items())


def _deviation(found: int, count: int, rate: float) -> float:
    return (found - count * rate) / sqrt(count * rate * (1 - rate))


def ask(port: int) -> Shares:
    """
    Send numbered datagrams to an echo, and count the answers.

    @raise LoadFailed: if an answer is none to what was sent.
    """
    found = Shares()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        client.connect((BESIDE, port))
        client.setblocking(False)
        given_up = -1
        for number in range(COUNT):
            client.send(number.to_bytes(4, "big"))
            while number - max(found.highest, given_up) >= WINDOW:
                if not _receive(client, found, number, GAP_SECONDS):
                    given_up = number
        while _receive(client, found, COUNT - 1, LAST_SECONDS):
            pass
    return found


def _receive(client: socket.socket, found: Shares, newest: int, seconds: float) -> bool:
    """Take the answers that are there, or the first one within some seconds."""
    if not select.select([client], [], [], seconds)[0]:
        return False
    while True:
        try:
            answer = client.recv(16)
        except BlockingIOError:
            return True
        number = int.from_bytes(answer, "big")
        if len(answer) != 4 or number > newest:
            raise LoadFailed(f"{answer!r} is no answer to what was sent")
        found.note(number)
