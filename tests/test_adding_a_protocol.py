"""Follows docs/PROTOCOLS.md: a protocol of another package, found, tested and served."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from socketd.protocols import declaration, spec
from socketd.settings import value_types, values
from tests.support.pages import FILE_NAME, PageCase, blocks
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "PROTOCOLS.md"


def install(directory: Path) -> None:
    """
    Write into a directory what pip notes of an installed package: its name, version and
    entry points, from the setup.cfg that the page shows.

    @raise AssertionError: if the page shows none.
    """
    found = [block.text for block in blocks(PAGE.read_text()) if block.language == "cfg"]
    assert len(found) == 1, "one setup.cfg"
    setup = ConfigParser(interpolation=None)
    setup.read_string(found[0])
    name, version = setup["metadata"]["name"], setup["metadata"]["version"]
    notes = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    notes.mkdir()
    fields = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (notes / "METADATA").write_text(fields)
    groups = setup["options.entry_points"]
    text = "".join(f"[{group}]{groups[group]}\n" for group in groups)
    (notes / "entry_points.txt").write_text(text)


class AddingTests(PageCase):
    """The five steps hold."""

    def test_five_steps(self) -> None:
        """
        What the page shows is a package: its own test passes, a mistyped name of its
        protocol is complained of with the right one, and the real daemon serves it.
        """
        install(self.directory)
        self.follow(PAGE, PYTHONPATH=str(self.directory))
        self.assertEqual(self.ports.keys(), {"7013", "udp7014", "udp7015"})

    def test_steps(self) -> None:
        """There are five, and the modules of step 2 are the files of step 1."""
        text = PAGE.read_text()
        steps = [line[3] for line in text.splitlines() if line.startswith("## ")]
        self.assertEqual(steps, list("12345"))
        names = [found[1] for block in blocks(text) if (found := FILE_NAME.match(block.text))]
        self.assertEqual(names[:3], ["socketd_rot13.py", "socketd_pong.py", "setup.cfg"])
        self.assertIn("rot13 = socketd_rot13:declaration", text)

    def test_earlier_paths(self) -> None:
        """What a protocol imported before its modules moved is still there, and the same."""
        self.assertIs(declaration.Declaration, spec.ProtocolSpec)
        self.assertIs(declaration.Surroundings, spec.ProtocolContext)
        self.assertIs(values.Kind, value_types.ValueType)
        self.assertIs(values.within, value_types.within)
        self.assertIs(values.DURATION, value_types.DURATION)
