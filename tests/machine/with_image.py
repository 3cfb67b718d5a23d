"""
The container image, on a base that debootstrap makes: built by buildah, run by podman.

The images and what they are made of are in C{build/image}, the wheel in C{dist}; that, and what is
pip's index there, C{make test-image} makes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.errors import BAD_CONFIGURATION
from tests.support.needs import missing, need
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import read_to_end
from tests.support.source_tree import ROOT

BUILT = ROOT / "build" / "image"

BASE = "localhost/socketd-base"
IMAGE = "localhost/socketd"

#: The version of this tree, which the Makefile finds the same way.
[VERSION] = re.findall("^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)

#: Seconds that a step of the build may take: longer than make-tree gives its own, which go on
#: when only the test gives up.
STEP = 1300.0

#: What the image adds to its base at most (bytes): Python, its library, and ours.
MAX_ADDED = 100 * 1024**2

#: Where the images are, so that none of this machine's own is touched.
STORE = (f"--root={BUILT}/store", f"--runroot={BUILT}/run", "--storage-driver=overlay")
PODMAN = ("podman", "--runtime=runc", "--cgroup-manager=cgroupfs", *STORE)

#: As where the rules are strictest: a read-only disk, no shell, no capability. The
#: limits are ones that podman need not raise.
RUN = (
    "run", "--read-only", "--read-only-tmpfs=false", "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024", "--volume=/dev/null:/usr/bin/dash:ro",
    "--volume=/dev/null:/usr/bin/bash:ro", "--cap-drop=all",
)  # fmt: skip

#: The first process of a container, whose id is the last one of those that it has (proc(5)).
FIRST = re.compile(r"^NSpid:.*\t1$", re.MULTILINE)


def done(*command: str, seconds: float = STEP) -> str:
    """Run a command that has to succeed, and return what it prints."""
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
    )
    if ended.returncode:
        raise AssertionError(f"{command[0]} failed: {ended.stderr[-2000:]}")
    return ended.stdout


@cache
def built() -> str:
    """Build the image, once."""
    need("debootstrap", "systemd-nspawn", "buildah", "podman", "runc")
    if os.geteuid():
        raise missing("root", "only root can make a base")
    tree = BUILT / "base"
    done("bash", "tests/machine/make-tree", str(tree), "bookworm", "ca-certificates")
    pack = f"tar --create --directory={tree} . | {' '.join(PODMAN)} import - {BASE}"
    done("bash", "-o", "pipefail", "-c", pack)
    arguments = {"BASE": BASE, "VERSION": VERSION}
    arguments |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    done(
        "buildah", *STORE, "build", "--isolation=chroot", "--format=docker", "--pull-never",
        "--layers", *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        f"--volume={BUILT}/wheels:/wheels:ro", f"--tag={IMAGE}", ".",
    )  # fmt: skip
    return IMAGE


class ImageCase(SynchronousTestCase):
    """A container of the image, which is gone afterwards."""

    # The first one builds the image.
    timeout = 2 * STEP

    def setUp(self) -> None:
        self.image = built()
        self.name = f"socketd-{os.getpid()}-{self.id().rpartition('.')[2]}"
        self.addCleanup(subprocess.run, [*PODMAN, "rm", "--force", self.name], capture_output=True)

    def podman(self, *words: str) -> str:
        return done(*PODMAN, *words, seconds=DEADLINE)

    def start(self, *words: str) -> None:
        """Start the container, and wait until it is healthy."""
        shared = f"--volume={ROOT}/tests/machine:/tests:ro"
        self.podman(*RUN, "--detach", f"--name={self.name}", "--network=none", shared, *words)
        wait_until(self.is_healthy, "it is healthy")

    def is_healthy(self) -> bool:
        command = [*PODMAN, "healthcheck", "run", self.name]
        return not subprocess.run(command, capture_output=True, timeout=DEADLINE).returncode

    def inside(self, *command: str) -> str:
        """Run a command in the container."""
        return self.podman("exec", self.name, *command)

    def state(self) -> dict[str, Any]:
        (found,) = json.loads(self.podman("inspect", self.name))
        return dict(found["State"])

    def stopped(self) -> str:
        """Stop it, see that it ends well, and return its log."""
        self.podman("stop", "--time=20", self.name)
        self.assertEqual(self.state()["ExitCode"], 0)
        return self.podman("logs", self.name)


class DefaultTests(ImageCase):
    """Tests for a container without arguments."""

    def test_served(self) -> None:
        """Every default service answers, and the daemon is the only and first process."""
        self.start(self.image)
        asked = self.inside("python3", "/tests/inside.py", "ask", "/run/socketd/own")
        self.assertEqual(asked, "")
        status = Path(f"/proc/{self.state()['Pid']}/status").read_text()
        self.assertRegex(status, FIRST)
        self.assertRegex(status, r"(?m)^Uid:\t65532\t65532\t65532\t65532$")
        self.assertIn("stopping; 0 connections", self.stopped())

    def test_everywhere(self) -> None:
        """It listens on all addresses of the container, and has a page of metrics."""
        self.start(self.image)
        rows = json.loads(self.inside("socketd", "services", "--json"))["rows"]
        listeners = ", ".join(row["listens"] for row in rows)
        self.assertGreater(listeners.count("0.0.0.0:"), 15)
        self.assertNotIn("127.0.0.1", listeners)
        self.assertNotIn("::1]", listeners)
        page = "http://127.0.0.1:9155/healthz"
        ask = f"import urllib.request as r; print(r.urlopen('{page}').status)"
        self.assertEqual(self.inside("python3", "-c", ask), "200\n")

    def test_drained(self) -> None:
        """A stop lets a connection finish."""
        self.start(self.image)
        command = [*PODMAN, "exec", self.name, "python3", "/tests/inside.py", "hold", "23007"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as held:
            wait_until(
                lambda: json.loads(self.inside("socketd", "connections", "--json"))["rows"] != [],
                "a connection is there",
            )
            log = self.stopped()
            held.kill()
        self.assertIn("stopping; 1 connections", log)
        self.assertNotIn("did not finish", log)


class ServeTests(ImageCase):
    """Tests for C{IMAGE serve}."""

    def serve(self, *words: str) -> Daemon:
        command = (*PODMAN, *RUN, f"--name={self.name}", "--network=host", self.image, "serve")
        daemon = Daemon([*command, *words])
        self.addCleanup(daemon.kill)
        return daemon

    def test_echo(self) -> None:
        """One service without a file is reached from outside; Ctrl-C ends it in good order."""
        daemon = self.serve("echo", "tcp:0:interface=0.0.0.0", "--json")
        line = daemon.output.wait_for(r"^\{.*\}$")[0]
        (listener,) = json.loads(line)["listeners"]
        with socket.create_connection(("127.0.0.1", listener["port"])) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"hello")
        daemon.ask_to_stop(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)

    def test_bad(self) -> None:
        """Bad arguments end it with the status of a bad configuration."""
        daemon = self.serve("ehco", "tcp:0")
        daemon.errors.wait_for("socketd serve: ehco: is not a protocol; did you mean echo[?]")
        self.assertEqual(daemon.wait(), BAD_CONFIGURATION)


class ContentTests(ImageCase):
    """Tests for what the image is."""

    def facts(self, image: str) -> dict[str, Any]:
        (found,) = json.loads(self.podman("image", "inspect", image))
        return dict(found)

    def test_configuration(self) -> None:
        """It starts without root and without a shell, stops by SIGTERM, and says what it is."""
        facts = self.facts(self.image)
        found = facts["Config"]
        self.assertEqual(facts["Healthcheck"]["Test"][0], "CMD")
        self.assertEqual((found["User"], found["StopSignal"]), ("65532:65532", "SIGTERM"))
        started = found["Entrypoint"], found["Cmd"]
        self.assertEqual(started, (["/opt/socketd/bin/socketd"], ["run"]))
        labels = found["Labels"]
        self.assertEqual(labels["org.opencontainers.image.title"], "socketd")
        self.assertEqual(labels["org.opencontainers.image.version"], VERSION)
        said = self.podman(*RUN, "--rm", self.image, "--version")
        self.assertEqual(said, f"socketd {VERSION}\n")

    def test_size(self) -> None:
        """It adds little to its base."""
        added = self.facts(self.image)["Size"] - self.facts(BASE)["Size"]
        self.assertLess(added, MAX_ADDED)

    def test_bill_of_materials(self) -> None:
        """Its bill of materials has the versions that are installed; neither pip nor tests are."""
        program = """
import glob, json, importlib.metadata as m
(file,) = glob.glob('/opt/socketd/lib/python3.*/site-packages/socketd-*.dist-info/sboms/*.json')
named = {(c['name'].lower(), c['version']) for c in json.load(open(file))['components']}
here = {(d.name.lower(), d.version) for d in m.distributions() if d.name != 'socketd'}
print(here ^ named, glob.glob('/opt/socketd/**/test', recursive=True))
"""
        python = "--entrypoint=/opt/socketd/bin/python"
        self.podman(
            *RUN, "--detach", f"--name={self.name}", "--network=none", python, self.image,
            "-c", program,
        )  # fmt: skip
        self.podman("wait", self.name)
        self.assertEqual(self.podman("logs", self.name), "set() []\n")
