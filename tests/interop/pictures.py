"""
Pictures of the status page for README and docs, after a quarter of an hour of load.

C{PICTURES} names the directory, C{SECONDS} how long the load lasts.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from math import pi, sin
from pathlib import Path
from typing import ClassVar

from tests.interop.page_case import StatusPageCase
from tests.support.polling import repeating
from tests.support.sockets import exchange

INI = """
[socketd]
http = tcp:0
control = {directory}/control.sock
[fault:flaky]
latency = 20ms jitter 5ms
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
udp_rate = 20/s
guard_loopback = yes
[upper]
listen = tcp:0:interface=127.0.0.1
max_per_source = 12
[ack]
listen = tcp:0:interface=127.0.0.1
operator = always
operator_timeout = 1h
[time]
listen = tcp:0:interface=127.0.0.1
"""

SECONDS = float(os.environ.get("SECONDS", "900"))


class Pictures(StatusPageCase):
    """Makes them."""

    timeout: ClassVar[float] = SECONDS + 300
    ini = INI

    def test_pictures(self) -> None:
        """Load the daemon, and write the pictures."""
        place = Path(os.environ["PICTURES"])
        place.mkdir(parents=True, exist_ok=True)
        self.clients: list[socket.socket] = []
        self.began = time.monotonic()
        with repeating(self.load) as problems:
            time.sleep(SECONDS)
            asking = [self.client("ack", text) for text in (b"Is anybody there?", b"status\r\n")]
            self.assertEqual(len(asking), 2)
            tab = self.operator()
            time.sleep(2)
            tab.picture(place / "overview.png")
            dark = self.open(self.secret_url(), height=620, prefers_color_scheme="dark")
            self.show(dark, "queue")
            dark.type("#questions input", "I am here")
            dark.picture(place / "queue.png")
            phone = self.open(width=390, height=844, prefers_color_scheme="dark")
            time.sleep(2)
            phone.picture(place / "phone.png")
        self.assertEqual(problems, [])

    def load(self) -> None:
        """Do what clients do: more of it and less, in waves of five minutes."""
        wave = sin((time.monotonic() - self.began) * 2 * pi / 300)
        wanted = round(8 + 6 * wave)
        while len(self.clients) < wanted:
            self.clients.append(self.running.connect(random.choice(["echo", "upper"])))
        for client in self.clients[wanted:]:
            client.close()
        del self.clients[wanted:]
        for client in tuple(self.clients):
            try:
                exchange(client, b"x" * random.randrange(10, 600))
            except (AssertionError, OSError):
                self.clients.remove(client)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(round(1 + 3 * (1 - wave))):
                sock.sendto(b"ping", self.running.address("echo", "udp"))
        with contextlib.suppress(OSError), self.running.connect("time") as sock:
            sock.recv(4)
        time.sleep(0.05)
