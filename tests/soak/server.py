"""The daemon under load: its process, its files, and what it tells of itself."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client.parser import text_string_to_metric_families

from bench.proc import parse_rollup
from socketd.common.answers import Answer
from socketd.protocols.clock.nts_keys import ROTATION
from tests.soak import configuration, instrumented
from tests.soak.configuration import NAME
from tests.soak.connections import PATIENCE, Mismatch
from tests.support import polling
from tests.support.certificates import issued
from tests.support.processes import HIDDEN
from tests.support.workers import START

ROOT = Path(__file__).resolve().parents[2]

COMMAND = (sys.executable, "-P", "-m", "tests.soak.instrumented", "--nodaemon", "--pidfile=")

#: The daemon under load is asked no more often than this (seconds).
wait_until = partial(polling.wait_until, timeout=PATIENCE, interval=0.02)

#: Bytes of the log that have the first lines, which say where the pages are.
HEAD = 4096

_LAG = "socketd_event_loop_lag_seconds"

_PORT = re.compile(r"(?:haproxy:)?(\w+) (\S+):(\d+)")


class Server:
    """
    The daemon.

    @ivar shown: the number of the certificate that was written last.
    """

    def __init__(self, directory: Path, workers: int = 1) -> None:
        self.directory = directory
        self._workers = workers
        self.shown = 0
        self._addresses: Mapping[tuple[str, str], Any] = {}
        self._ini = directory / "socketd.ini"
        self._log = directory / "log"
        self._census = str(directory / "census")
        self._process: subprocess.Popen[bytes] | None = None
        configuration.write_files(directory)
        self.renew(0)
        self.configure(configuration.base(directory))

    def start(self) -> None:
        """Start it, and wait until it serves; raise L{Mismatch} if it does not."""
        kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        more = {instrumented.CENSUS: self._census, "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "socketd", "--config", str(self._ini)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=kept | more | {"XDG_RUNTIME_DIR": str(self.directory)},
                cwd="/",
                start_new_session=True,
            )
        wait_until(self._is_up, "the start", timeout=START)
        self.find_addresses()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def log_since(self, size: int) -> str:
        """Read its log from a length on."""
        with self._log.open("rb") as log:
            log.seek(size)
            return log.read().decode("utf-8", "replace")

    def log_size(self) -> int:
        """The length of its log (bytes)."""
        return self._log.stat().st_size

    def addresses(self) -> Mapping[tuple[str, str], Any]:
        """Where its services are, as found last."""
        return self._addresses

    def configure(self, text: str) -> None:
        """Write its configuration, with its workers; it is not told."""
        text = text.replace("[socketd]\n", f"[socketd]\nworkers = {self._workers}\n", 1)
        fresh = self._ini.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(self._ini)

    def renew(self, number: int) -> None:
        """Replace its certificate by another one."""
        made = issued(NAME, number=number)
        made.write(str(self.certificate))
        self.shown = number

    def shown_certificate(self) -> bytes:
        """The certificate that was written last, in DER."""
        return issued(NAME, number=self.shown).certificate.public_bytes(Encoding.DER)

    def age_keys(self) -> None:
        """Make the keys of NTS a day older."""
        file = self.directory / "nts.keys"
        fresh = file.with_suffix(".aged")
        text = file.read_bytes()
        since = int(text.split()[5])
        fresh.touch(mode=0o600)
        fresh.write_bytes(text.replace(b"%d" % since, b"%d" % (since - ROTATION)))
        fresh.rename(file)

    @property
    def certificate(self) -> Path:
        """The file with certificate and key."""
        return self.directory / "server.pem"

    def ask(self, line: str) -> Answer:
        """Have a command carried out at the control socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"{self.directory}/control.sock")
            sock.sendall(f"json {line}\n".encode())
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as answer:
                found: Answer = json.loads(answer.readline())
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a page of its web service."""
        connection = http.client.HTTPConnection(*self.web(), timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def web(self) -> tuple[str, int]:
        """Where its web service is."""
        with self._log.open("rb") as log:
            head = log.read(HEAD).decode("utf-8", "replace")
        found = re.search(r"http listens on tcp (\S+):(\d+)", head)
        assert found is not None
        return found[1], int(found[2])

    def figures(self) -> Figures:
        """Read what it has instrumented."""
        return Figures(self.get("/metrics")[1])

    def processes(self) -> list[int]:
        """Its process, and those of its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [self.pid, *map(int, children.split())]

    def descriptors(self) -> int:
        """Count the open descriptors of all processes."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def resident(self) -> int:
        """The resident memory of all processes (bytes)."""
        files = [Path(f"/proc/{pid}/smaps_rollup") for pid in self.processes()]
        return sum(parse_rollup(file.read_text(encoding="ascii")) for file in files)

    def census(self, collected: bool) -> instrumented.Census:
        """
        Count what lives in it and in its workers; if C{collected}, only what is reachable, and
        by type.
        """
        found = instrumented.Census(0, 0, {})
        for pid in self.processes():
            os.kill(pid, instrumented.COLLECT if collected else instrumented.COUNT)
            read = partial(instrumented.read, f"{self._census}.{pid}")
            found += wait_until(read, "a census")
        return found

    def find_addresses(self) -> None:
        """Ask it where its services are."""
        found: dict[tuple[str, str], Any] = {}
        for row in self.ask("services")["rows"]:
            for listener in row["listens"].split(", "):
                kind, place = self._place(row["service"], listener)
                # Ports that were opened for probes come behind.
                found.setdefault((row["service"], kind), place)
        self._addresses = found

    def stop(self) -> int:
        """
        Stop it.

        @return: its status.
        @raise Mismatch: if it does not end.
        """
        assert self._process is not None
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Mismatch("it does not stop") from None

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
            self._process.kill()
            self._process.wait(PATIENCE)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Mismatch(f"it does not start:\n{self.log()}")
        # With workers it is asked before these serve.
        is_there = Path(f"{self.directory}/control.sock").exists()
        return is_there and "http listens on" in self.log() and self.get("/healthz")[0] == 200

    def _place(self, service: str, listener: str) -> tuple[str, Any]:
        found = _PORT.fullmatch(listener)
        if found is None:
            kind = listener.partition(" ")[0].removeprefix("haproxy:")
            return kind, configuration.unix_path(self.directory, service, kind)
        return found[1], (found[2].strip("[]"), int(found[3]))


class Figures:
    """What C{/metrics} says."""

    def __init__(self, text: str) -> None:
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        # By the name and the service, and by the values of the other labels.
        self._by_service: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._values[sample.name, frozenset(sample.labels.items())] = sample.value
                others = {name: sample.labels[name] for name in sorted(sample.labels)}
                found = self._by_service[sample.name, others.pop("service", "")]
                found[" ".join(others.values())] += int(sample.value)

    def get(self, name: str, **labels: str) -> int:
        """One figure; 0 where there is none."""
        return int(self._values.get((f"socketd_{name}", frozenset(labels.items())), 0))

    def by_labels(self, name: str, service: str) -> Counter[str]:
        """The figures of a service by the values of their other labels, without zeros."""
        return +self._by_service[f"socketd_{name}", service]

    def lag(self) -> tuple[float, int]:
        """How late all timers were, together (seconds), and how many there were."""
        sums = [
            sum(value for (name, _), value in self._values.items() if name == f"{_LAG}_{end}")
            for end in ("sum", "count")
        ]
        return sums[0], int(sums[1])

    def services(self) -> list[str]:
        """The services that it has, or had."""
        name = "socketd_connections_open"
        return sorted(dict(labels)["service"] for known, labels in self._values if known == name)
