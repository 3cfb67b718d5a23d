"""
Tests that imports go down only, as ARCHITECTURE.md says.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.source_tree import ROOT, modules

#: What each part of the package may import of the others.
ALLOWED: dict[str, set[str]] = {
    "settings": set(),
    "operator": set(),
    "accounting": set(),
    "clock": set(),
    "log": {"accounting", "admission", "events", "settings"},
    "events": set(),
    "table": set(),
    "admission": {"settings"},
    "protocols": {"clock", "settings", "operator"},
    "net": {"accounting", "admission", "clock", "events", "settings"},
    "configuration": {"net", "protocols", "settings"},
    "cli": {"configuration", "settings", "table"},
    "__main__": {"cli"},
    "reference": {"protocols", "settings"},
}
BOTTOM = {
    "settings", "operator", "accounting", "events", "admission", "protocols", "clock",
}
ALLOWED["service"] = BOTTOM | {"net"}
ALLOWED["reload"] = BOTTOM | {"net", "service"}
ALLOWED["daemon"] = BOTTOM | {"log", "net", "reload", "service"}
ALLOWED["control"] = BOTTOM | {"net", "table", "reload", "service", "daemon"}
ALLOWED["web"] = ALLOWED["notify"] = ALLOWED["control"]
ALLOWED["signals"] = set()
ALLOWED["tap"] = ALLOWED["control"] | {
    "configuration", "control", "log", "notify", "signals", "web",
}

# It writes the manuals from all that there is.
ALLOWED["manual"] = ALLOWED["tap"] | {"cli", "reference", "tap"}

#: Single modules that may be imported although their part may not.
EXCEPTIONS = {("cli", "socketd.net.sockopts"), ("cli", "socketd.net.certificates")}

# The console of the daemon's own terminal and that of a client are typed at alike.
EXCEPTIONS |= {
    (part, f"socketd.cli.{name}")
    for part, name in (
        ("control", "addressee"), ("control", "prompt_line"), ("control", "terminal"),
        ("tap", "terminal"),
    )
}  # fmt: skip

#: The only modules that may take the reactor of the process.
REACTOR_USERS = {"socketd.tap", "socketd.cli.client"}

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
    List what a module imports, inside its functions too; what is imported for
    types only counts as well.
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
    """
    Name the part of the package that a module, or a name in one, belongs to.
    """
    return name.split(".")[1] if "." in name else ""


def module_of(target: str) -> str:
    """
    Name our module that an imported name is, or is in.
    """
    while target not in modules():
        target = target.rpartition(".")[0]
    return target


def ours(name: str) -> list[Import]:
    """
    List what one of our modules imports of the others.
    """
    return [found for found in imports(modules()[name]) if found.target.split(".")[0] == "socketd"]


class LayerTests(SynchronousTestCase):
    """
    Tests for the imports between our modules.
    """

    def test_every_part_has_its_place(self) -> None:
        """
        A new part of the package is given its place here.
        """
        self.assertEqual({part_of(name) for name in modules()} - {""} - ALLOWED.keys(), set())

    def test_down(self) -> None:
        """
        No module imports what is not below it.
        """
        wrong = [
            f"{name} imports {found.target}"
            for name in modules()
            for found in ours(name)
            if part_of(found.target) not in ALLOWED.get(part_of(name), set()) | {part_of(name)}
            and (part_of(name), module_of(found.target)) not in EXCEPTIONS
        ]
        self.assertEqual(wrong, [])

    def test_table_allows_no_cycle(self) -> None:
        """
        The table itself goes down only.
        """
        below: dict[str, set[str]] = {}
        left = dict(ALLOWED)
        while ready := [part for part, needs in left.items() if needs <= below.keys()]:
            below |= {part: left.pop(part) for part in ready}
        self.assertEqual(left, {})

    def test_no_cycles(self) -> None:
        """
        No module imports itself by way of others, not even late.
        """
        left = {
            name: {module_of(found.target) for found in ours(name)} - {name} for name in modules()
        }
        done: set[str] = set()
        while ready := {name for name, needs in left.items() if needs <= done}:
            done |= ready
            left = {name: needs for name, needs in left.items() if name not in ready}
        self.assertEqual(left, {})

    def test_absolute(self) -> None:
        """
        Imports name the whole path, so that they can be found.
        """
        for name, tree in modules().items():
            levels = {node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            self.assertTrue(levels <= {0}, name)


class ReactorTests(SynchronousTestCase):
    """
    Tests for who touches the reactor of the process.
    """

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
        """
        With all modules imported no reactor is installed: twistd may yet choose one.
        """
        names = sorted(set(modules()) - {"socketd.__main__"})
        program = f"import sys, {', '.join(names)}\n"
        program += "sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
