"""Tests for rules that hold for the whole source, and that no linter knows."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from string import Formatter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy
from zope.interface.interface import InterfaceClass

from socketd.common import events
from tests.support.source_tree import functions, modules

#: More than this does not fit a screen with what stands around it.
MAX_FUNCTION_LINES = 40

#: flake8's limit, in setup.cfg.
MAX_COLUMNS = 99


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function, without its docstring."""
    total = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def spread(tree: ast.Module) -> Iterator[int]:
    """List the lines at which a docstring takes three lines although one has room for it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        text = ast.get_docstring(node)
        if text is None or "\n" in text or text.endswith(('"', "\\")):
            continue
        docstring = node.body[0]
        fits = docstring.col_offset + len(text) + 6 <= MAX_COLUMNS
        if fits and docstring.end_lineno != docstring.lineno:
            yield docstring.lineno


def is_public(name: str) -> bool:
    """Say whether a name is meant for others."""
    return not name.startswith("_")


def has_docstring(holder: Any, name: str) -> bool:
    """
    Say whether a method is described: by itself, by a class above, or by the
    interface that declares it.
    """
    if isinstance(holder, InterfaceClass):
        return bool(holder[name].getDoc())
    if inspect.getdoc(inspect.getattr_static(holder, name)) or inspect.getdoc(
        getattr(holder, name)
    ):
        return True
    interfaces = implementedBy(holder).flattened()
    return any(interface.get(name) is not None for interface in interfaces)


def undocumented_methods(module: str, node: ast.ClassDef) -> Iterator[str]:
    """List the public methods of a class that nothing describes."""
    holder = getattr(importlib.import_module(module), node.name)
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(item.name):
            if not has_docstring(holder, item.name):
                yield f"{module}.{node.name}.{item.name}"


def undocumented(module: str, tree: ast.Module) -> Iterator[str]:
    """List the public classes, functions and methods of a module that lack a docstring."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if is_public(node.name) and ast.get_docstring(node) is None:
            yield f"{module}.{node.name}"
        if is_public(node.name) and isinstance(node, ast.ClassDef):
            yield from undocumented_methods(module, node)


def emitted(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """
    List the events that a module emits by their constants.

    @return: the constant's name, with the names of the facts that go with it.
    """
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "emit"
            and isinstance(node.args[0], ast.Name)
            and node.args[0].id.isupper()
        ):
            yield node.args[0].id, {keyword.arg or "**" for keyword in node.keywords}


class SourceTests(SynchronousTestCase):
    """Tests for size and docstrings."""

    def test_short_functions(self) -> None:
        """No function is longer than a screen."""
        long = {
            f"{module}.{function.name}": length(function)
            for module, tree in modules().items()
            for function in functions(tree)
            if length(function) > MAX_FUNCTION_LINES
        }
        self.assertEqual(long, {})

    def test_modules_have_docstrings(self) -> None:
        """Every module says what it is for."""
        silent = [name for name, tree in modules().items() if ast.get_docstring(tree) is None]
        self.assertEqual(silent, [])

    def test_names_have_docstrings(self) -> None:
        """So does everything public in it; a method may leave that to what declares it."""
        silent = [name for item in modules().items() for name in undocumented(*item)]
        self.assertEqual(silent, [])

    def test_docstrings_are_short(self) -> None:
        """A docstring of one sentence stands on one line where it fits (PEP 257)."""
        found = {name: list(spread(tree)) for name, tree in modules().items()}
        self.assertEqual({name: lines for name, lines in found.items() if lines}, {})

    def test_packages_are_empty(self) -> None:
        """A package's own file holds nothing but its docstring."""
        names = set(modules())
        for name in names & {other.rpartition(".")[0] for other in names}:
            self.assertEqual(len(modules()[name].body), 1, name)


class EventTests(SynchronousTestCase):
    """Tests for the catalogue of events."""

    def setUp(self) -> None:
        self.constants = {
            name: event for name, event in vars(events).items() if isinstance(event, events.Event)
        }
        self.emitted = [found for tree in modules().values() for found in emitted(tree)]

    def test_names(self) -> None:
        """Each event has a name of its own, that of its constant."""
        names = {name.lower(): event.name for name, event in self.constants.items()}
        self.assertEqual(list(names), list(names.values()))

    def test_catalogue(self) -> None:
        """The catalogue has all of them, by name."""
        expected = {event.name: event for event in self.constants.values()}
        self.assertEqual(events.CATALOGUE, expected)

    def test_emitted_are_known(self) -> None:
        """What the code emits is in the catalogue."""
        self.assertEqual({name for name, _ in self.emitted} - self.constants.keys(), set())

    def test_known_are_emitted(self) -> None:
        """What is in the catalogue is emitted somewhere."""
        self.assertEqual(self.constants.keys() - {name for name, _ in self.emitted}, set())

    def test_facts(self) -> None:
        """An event comes with all facts that its line shows; its site adds the service."""
        for name, facts in self.emitted:
            fields = {
                field
                for _, field, _, _ in Formatter().parse(self.constants[name].format)
                if field
            }
            if "**" not in facts:
                self.assertEqual(fields - facts - {"service"}, set(), name)
