"""
What README and docs/guide.md say, on Debians that have nothing but what these ask for: each line
of their C{sh} blocks, as an ordinary user, and by root where C{sudo} stands in front; and what
docs/howto says.

The trees and the wheels, which are pip's index there, are those of C{build/machine}, which
C{make test-bare} makes.
"""

from __future__ import annotations

import atexit
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.machine.nspawn import COMMAND, Machine
from tests.support.pages import blocks, commands

TOP = Path(__file__).resolve().parent.parent.parent
BUILT = TOP / "build" / "machine"
README = (TOP / "README.md").read_text()
GUIDE = (TOP / "docs" / "guide.md").read_text()

USER = "user"

#: Parts of both pages, by their headings; the first screen has none.
FIRST = ""
PACKAGE = "Install it"
ONE_USER = "For one user"

#: Seconds that a line may take: a run of the tests on a slow machine.
LINE = 1200.0

#: Seconds until a daemon answers, with all that is made before.
START = 300.0

#: So much of what a command has said is shown when it fails: the end, where trial sums up.
SHOWN = 20000

#: Then the pages for one task each, followed as they stand; two of them use curl.
PAGES = ("sudo apt install curl", "make test-daemon TESTS='tests.manual.test_howto'")

#: What runs until Ctrl-C.
SERVERS = ("make run", "socketd run")

#: The daemon of the package, as its unit starts it.
UNIT = "$(sed -n s/^ExecStart=//p /usr/lib/systemd/system/socketd.service)"

#: twistd of the environment that pipx or uv has made, as the guide names it.
[TWISTD] = re.findall(r"`(\$\(dirname .* socketd)`", GUIDE)

#: The wheel, the source archive and the bill of materials, by name with their hashes: each release
#: builds the same.
ARCHIVES: dict[str, str] = {}

#: A heading of a page.
HEADING = re.compile(r"^##+ (.*)\n", re.MULTILINE)

#: A link to a file beside the page.
LINK = re.compile(r"\]\(([^):#]+)\)")

#: How trial sums up.
SUMMARY = re.compile(r"^(?:Ran \d+ tests|PASSED|FAILED).*", re.MULTILINE)

#: The whole setting of a machine: its user, a repository that the user may read, the wheels where
#: pip and uv look for them, for there is no network; a yes to what apt asks, and no more than it
#: needs, for the archives of the rest are not there; the name that every installer writes.
PREPARE = r"""
set -e
useradd --create-home --shell /bin/bash user
rm -rf /dev/net
cp -r /source /srv/socketd.git
chown -R user: /srv/socketd.git
printf '[global]\nno-index = true\nfind-links = /wheels\n' >/etc/pip.conf
echo 'APT { Get::Assume-Yes "true"; Install-Recommends "false"; };' >/etc/apt/apt.conf.d/bare
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
mkdir /etc/uv
printf 'no-index = true\nfind-links = ["/wheels"]\n' >/etc/uv/uv.toml
git config --system url./srv/socketd.git.insteadOf "$1"
"""


def parts() -> dict[str, list[str]]:
    """
    Take both pages apart.

    @return: the lines of its C{sh} blocks, by heading.
    """
    found = [FIRST, *HEADING.split(README), *HEADING.split(GUIDE)[1:]]
    lines = {heading: list(shell_lines(text)) for heading, text in zip(found[::2], found[1::2])}
    return {heading: some for heading, some in lines.items() if some}


def clients() -> list[str]:
    """List the clients of the first screen."""
    found = blocks(HEADING.split(README)[0])
    typed = [
        command
        for block in found
        if block.language == "console"
        for command, _ in commands(block.text)
    ]
    return [command for command in typed if command.startswith("socketd ")]


def shell_lines(text: str) -> Iterator[str]:
    """List the commands of the C{sh} blocks of a text, without comments."""
    for block in blocks(text):
        if block.language == "sh":
            for line in block.text.splitlines():
                yield re.sub(r"(^|\s+)#.*", "", line)


@cache
def machine(release: str) -> Machine:
    """Start a machine, once, with its user."""
    shared = {
        "/source": BUILT / "socketd.git",
        "/tests": TOP / "tests" / "machine",
        "/wheels": BUILT / f"wheels-{release}",
    }
    started = Machine(BUILT / f"bare-{release}", shared, boots=False)
    atexit.register(started.stop)
    [address] = re.findall(r"^git clone (\S+)", README, re.MULTILINE)
    prepared = started.run("bash", "-c", PREPARE, "prepare", address)
    assert prepared.returncode == 0, prepared.stderr
    return started


class Case(SynchronousTestCase):
    """
    A user of one release, in an empty folder.

    @cvar release: its number.
    """

    timeout: ClassVar[float] = 3600
    release: ClassVar[str]

    def setUp(self) -> None:
        self.machine = machine(self.release)
        self.folder = "~"
        self.exports: list[str] = []
        self.folder = self.by(USER, "mktemp -d -p ~").strip()
        # The machine's disk is memory.
        self.addCleanup(self.by, "root", f"rm -rf {self.folder}")

    def by(self, user: str, line: str) -> str:
        """
        Have a user run a line of shell, which has to succeed.

        @return: what it wrote.
        """
        ran = self.machine.run(*self.as_user(user, f"{{ {line}\n}} 2>&1"), seconds=LINE)
        if ran.returncode:
            self.fail(f"{line}: status {ran.returncode}\n{(ran.stdout + ran.stderr)[-SHOWN:]}")
        return ran.stdout

    def say(self, text: str) -> None:
        """Report progress."""
        print(f"Debian {self.release}: {text}", flush=True)

    def as_user(self, user: str, line: str) -> list[str]:
        """Give the command that runs a line of shell as after a login, in the folder."""
        lines = [f"cd {self.folder}", *self.exports, line]
        return ["su", "--login", user, "--command", " && ".join(lines)]

    def follow(self, lines: Iterable[str]) -> None:
        """Do what README says."""
        for line in lines:
            if line.startswith(SERVERS):
                self.serve(line)
            elif line.startswith("cd "):
                self.folder = f"{self.folder}/{line.removeprefix('cd ')}"
            elif line.startswith("export "):
                self.exports.append(line)
            else:
                self.time(line)

    def time(self, line: str) -> str:
        """
        Do what one line of README says, and say how long it took.

        @return: what it wrote.
        """
        began = time.monotonic()
        user = "root" if line.startswith("sudo ") else USER
        said = self.by(user, line.removeprefix("sudo "))
        self.say("; ".join([f"{line}: {time.monotonic() - began:.0f} s", *SUMMARY.findall(said)]))
        return said

    def clone(self) -> None:
        """Do what stands first in README, and no more."""
        self.follow(line for line in parts()[FIRST] if line.startswith(("git clone ", "cd ")))

    def serve(self, line: str, user: str = USER, also: Iterable[str] = ()) -> None:
        """
        Start a daemon, ask all that it serves, and press Ctrl-C.

        @param also: more clients, which have to succeed.
        """
        began = time.monotonic()
        shell = shlex.join(["setsid", "--wait", "bash", "-c", f"echo $$; exec {line}"])
        daemon = self.machine.start(*self.as_user(user, shell))
        assert daemon.stdout is not None
        group = daemon.stdout.readline().strip()
        self.addCleanup(daemon.communicate)
        self.addCleanup(self.machine.run, "sh", "-c", f"kill -KILL -{group}")
        while not self.inside("answers", "23007", "5") and daemon.poll() is None:
            self.assertLess(time.monotonic() - began, START, line)
        self.say(f"{line}: answers after {time.monotonic() - began:.0f} s")
        private = self.by(user, "echo /tmp/socketd-$(id -u)").strip()
        wrong = self.inside("ask", private if user == USER else "/run/socketd", user=user)
        for client in also:
            self.by(user, client)
        self.machine.run("sh", "-c", f"kill -INT -{group}")
        said, _ = daemon.communicate(timeout=COMMAND)
        self.assertEqual(wrong, "", said)
        self.assertIn("stopping", said)

    def inside(self, *arguments: str, user: str = USER) -> str:
        """Run one of the clients in the machine."""
        return self.by(user, f"python3 /tests/inside.py {' '.join(arguments)}")

    def keep_package(self) -> None:
        """
        Take the package that was built here to C{build/machine}, for C{make system-test}; the
        archives beside it have to be those of the releases before.
        """
        dist = self.machine.place(self.by(USER, "realpath dist").strip())
        [package] = dist.glob("*.deb")
        built = {file.name: sha256(file.read_bytes()).hexdigest() for file in dist.iterdir()}
        del built[package.name]
        self.assertEqual(ARCHIVES or built, built)
        ARCHIVES.update(built)
        place = BUILT / f"deb-{self.release}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        shutil.copy(package, place)

    def check_command(self) -> None:
        """
        Expect the command to be on the PATH, and to know the configuration that came with it.
        """
        self.assertIn("configuration OK", self.by(USER, "socketd check"))


class Tests:
    """What every release has to do."""

    def test_first_screen(self: Any) -> None:
        """The first screen of README, from the clone to the tests; then docs/howto."""
        self.follow(parts()[FIRST])
        self.serve("make run", also=clients())
        said = [self.time(line) for line in PAGES]
        self.assertNotIn("skips=", said[-1])

    def test_package(self: Any) -> None:
        """
        The package is built and installed; its daemon serves, its pages have what they link to,
        and no text names a twistd that is not on the PATH.
        """
        self.clone()
        self.addCleanup(self.by, "root", "apt-get purge --yes socketd")
        self.follow(parts()[PACKAGE])
        self.keep_package()
        self.check_command()
        self.by("root", "apt-get install lintian")
        said = self.by(USER, "lintian --fail-on warning,error dist/*.deb")
        self.assertEqual(said, "")
        # As RuntimeDirectory= does.
        self.by("root", "mkdir /run/socketd")
        self.serve(UNIT, "root")
        for path in self.by(USER, "find /usr/share/doc/socketd -name '*.md'").splitlines():
            links = LINK.findall(self.by(USER, f"cat {path}"))
            for link in dict.fromkeys(links):
                self.by(USER, f"test -e {Path(path).parent / link}")
        texts = self.by(USER, "dpkg --listfiles socketd | grep -E '^/(etc|usr/share)/'")
        search = f"zgrep -hE '(^|[^/a-z_.-])twistd' {' '.join(texts.split())} 2>/dev/null || true"
        found = self.by(USER, search)
        self.assertEqual(found, "")

    def test_one_user(self: Any) -> None:
        """The wheel is installed as the guide says, and serves."""
        self.clone()
        for line in parts()[ONE_USER]:
            self.follow([line])
            if "install" in line and "dist/" in line:
                self.check_command()
                self.serve("socketd run")
                self.serve(TWISTD)


class Debian12Tests(Tests, Case):
    """Debian 12."""

    release = "12"


class Debian13Tests(Tests, Case):
    """Debian 13."""

    release = "13"
