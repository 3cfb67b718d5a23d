"""Tests that imports go down only, as ARCHITECTURE.md says."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.support.source_tree import PACKAGE, ROOT, modules

#: The wings, and what each may import of the others. One with a dot is a part of C{net} or
#: C{cli}: these have wings of their own, and modules beside them.
BOTTOM = {"common", "settings", "access", "faults", "protocols"}
SOCKETS = {"net.addresses", "net.sockets", "net.timer_wheel", "net.service_state", "net.port"}
SOCKETS |= {"net.base_layer", "net.faults"}
SERVED = {"net.proxy", "net.stream", "net.tls", "net.datagram", "net.layers", "net.listen"}
NET = SOCKETS | SERVED | {"net.own_listener", "net.needs"}
ALLOWED: dict[str, set[str]] = {
    "common": set(),
    "settings": {"common"},
    "access": {"common", "settings"},
    "faults": {"common", "settings"},
    "protocols": {"common", "settings"},
    "terminal": {"common"},
    "net.addresses": {"common"},
    "net.timer_wheel": set(),
    "net.base_layer": set(),
    "net.service_state": {"access", "common", "faults", "net.timer_wheel"},
    "net.port": {"net.addresses", "net.service_state"},
    "net.faults": {"common", "faults", "net.service_state", "settings"},
    "net.sockets": {"access", "common", "net.addresses", "settings"},
    "net.proxy": {"common", "net.base_layer"},
    "net.stream": BOTTOM | SOCKETS | {"net.proxy", "net.tls"},
    "net.datagram": BOTTOM | SOCKETS,
    "net.tls": BOTTOM | SOCKETS,
    "net.layers": BOTTOM | SOCKETS | {"net.proxy", "net.stream", "net.tls"},
    "net.listen": BOTTOM | SOCKETS | {"net.datagram", "net.stream"},
    "net.own_listener": {"net.listen", "net.service_state", "net.sockets", "settings"},
    "net.needs": {"net.sockets", "settings"},
    "net.reactor": BOTTOM | NET,
    "configuration": BOTTOM | NET,
    "daemon": BOTTOM | NET | {"configuration"},
    "workers": BOTTOM | NET | {"configuration", "daemon"},
    "control": BOTTOM | NET | {"daemon", "terminal"},
    "web": BOTTOM | NET | {"control", "daemon"},
    "cli.common": {"common"},
    "cli.transport": {"cli.common", "common"},
    "cli.client": {"cli.common", "cli.transport", "common", "terminal"},
    "cli.clock": {"cli.client", "cli.common", "cli.transport", "common"},
    "cli.operator": {
        "cli.client", "cli.common", "cli.transport", "common", "settings", "terminal",
    },
    "cli.record": {
        "cli.client", "cli.common", "cli.transport", "common", "protocols", "settings",
    },
    "cli.migrate": {"cli.common", "common", "configuration", "settings"},
    "cli.system": {"cli.common", "common", "configuration", "protocols", "settings", "tap"},
    "cli.main": {"cli.common", "common"},
    "__main__": {"cli.main"},
    "testing": {"cli.operator", "common"},
    "pytest_plugin": {"testing"},
}
ALLOWED["tap"] = ALLOWED["control"] | {"configuration", "control", "net.reactor", "web"}
ALLOWED["tap"] |= {"workers"}
ALLOWED["worker"] = ALLOWED["tap"] - {"web"}

#: Single modules that may be imported although their part may not: how a certificate is read, and
#: the packets, keys, times and records that client and server share.
EXCEPTIONS = {
    ("cli.client", "socketd.protocols.measure.keys"),
    ("cli.client", "socketd.protocols.measure.stamp_packet"),
    ("cli.clock", "socketd.protocols.clock.ntp_time"),
    ("cli.clock", "socketd.protocols.clock.nts_fields"),
    ("cli.clock", "socketd.protocols.clock.nts_keys"),
    ("cli.clock", "socketd.protocols.clock.nts_records"),
    ("cli.common", "socketd.net.tls.certificates"),
    ("cli.system", "socketd.net.tls.certificates"),
    ("cli.transport", "socketd.net.datagram.cmsg"),
    ("cli.transport", "socketd.net.tls.certificates"),
    ("testing", "socketd.control.requests"),
}  # fmt: skip

#: No folder has more modules: a reader of C{ls} finds the one to open.
MAX_MODULES = 15

#: The only modules that may take the reactor of the process.
REACTOR_USERS = {"socketd.tap", "socketd.worker", "socketd.cli.client.runner"}

#: What takes Twisted's reactor, or installs one as soon as it is imported.
REACTORS = ("twisted.internet.reactor", "twisted.internet.default")


@frozen
class Import:
    """
    One imported name.

    @ivar target: its full name: a module, or a name in one.
    @ivar top: whether it is imported with the module that imports it.
    """

    target: str
    top: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """
    List what a module imports, inside its functions too; what is imported for types only counts
    as well.

    Imports have to name the whole path, so that they can be found.
    """
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        top = id(node) not in late
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (Import(f"{node.module}.{alias.name}", top) for alias in node.names)


def part_of(name: str) -> str:
    """Name the wing that a module, or a name in one, belongs to."""
    parts = name.split(".")[1:3]
    return ".".join(parts if parts and parts[0] in ("net", "cli") else parts[:1])


def module_of(target: str) -> str:
    """Name our module that an imported name is, or is in."""
    while target not in modules():
        target = target.rpartition(".")[0]
    return target


def ours(name: str) -> list[Import]:
    """List what one of our modules imports of the others."""
    return [found for found in imports(modules()[name]) if found.target.split(".")[0] == "socketd"]


class LayerTests(SynchronousTestCase):
    """Tests for the imports between our modules."""

    def test_every_part_has_its_place(self) -> None:
        """A new part of the package is given its place here."""
        parts = {part_of(name) for name in modules()} - {"", "cli", "net"}
        self.assertEqual(parts ^ ALLOWED.keys(), set())

    def test_architecture(self) -> None:
        """ARCHITECTURE.md describes each wing."""
        page = (ROOT / "ARCHITECTURE.md").read_text()
        wings = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
        self.assertEqual([name for name in wings if f"**{name}**" not in page], [])

    def test_no_folder_is_crowded(self) -> None:
        """No folder has more than L{MAX_MODULES} modules."""
        folders = Counter(path.parent for path in PACKAGE.rglob("[!_]*.py"))
        self.assertEqual([found for found in folders.items() if found[1] > MAX_MODULES], [])

    def test_each_is_installed(self) -> None:
        """A new folder is in the list of packages in setup.cfg."""
        folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
        setup = ConfigParser(interpolation=None)
        setup.read(ROOT / "setup.cfg")
        listed = set(setup["options"]["packages"].split())
        self.assertEqual(listed, {".".join(one.parts) for one in folders} | {"twisted.plugins"})

    def test_down(self) -> None:
        """No module imports what is not below it."""
        wrong = [
            f"{name} imports {found.target}"
            for name in modules()
            for found in ours(name)
            if part_of(found.target) not in ALLOWED.get(part_of(name), set()) | {part_of(name)}
            and (part_of(name), module_of(found.target)) not in EXCEPTIONS
        ]
        self.assertEqual(wrong, [])

    def test_table_allows_no_cycle(self) -> None:
        """The table itself goes down only."""
        below: dict[str, set[str]] = {}
        left = dict(ALLOWED)
        while ready := [part for part, needs in left.items() if needs <= below.keys()]:
            below |= {part: left.pop(part) for part in ready}
        self.assertEqual(left, {})

    def test_no_cycles(self) -> None:
        """No module imports itself by way of others, not even late."""
        left = {
            name: {module_of(found.target) for found in ours(name)} - {name} for name in modules()
        }
        done: set[str] = set()
        while ready := {name for name, needs in left.items() if needs <= done}:
            done |= ready
            left = {name: needs for name, needs in left.items() if name not in ready}
        self.assertEqual(left, {})

    def test_helpers_of_tests(self) -> None:
        """No test module imports from another one: what tests share is in modules for that."""
        for path in (ROOT / "tests").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    self.assertFalse(node.module.rpartition(".")[2].startswith("test_"), path)


class ReactorTests(SynchronousTestCase):
    """Tests for who touches the reactor of the process."""

    def test_not_with_the_module(self) -> None:
        """
        No module takes the reactor when it is imported, and only those that a
        process starts with take it at all.
        """
        users = set()
        for name, tree in modules().items():
            taken = [found for found in imports(tree) if found.target.startswith(REACTORS)]
            self.assertEqual([found for found in taken if found.top], [], name)
            users |= {name} if taken else set()
        self.assertTrue(users <= REACTOR_USERS, users - REACTOR_USERS)

    def test_none_installed(self) -> None:
        """With all modules imported no reactor is installed: twistd may yet choose one."""
        names = sorted(set(modules()) - {"socketd.__main__"})
        program = f"import sys, {', '.join(names)}\n"
        program += "sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
