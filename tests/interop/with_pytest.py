"""The plugin for test suites with releases of pytest: those of build/pytest/ and of the lock."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.interop.client_case import InteropCase
from tests.support.pages import write_files
from tests.support.source_tree import ROOT

#: Each release is in a directory of its own (make interop).
RELEASES = ROOT / "build" / "pytest"


class PytestTests(InteropCase):
    """docs/howto/test-suite.md holds with each release."""

    def test_releases(self) -> None:
        """The fixture is found, and the tests of the page pass."""
        page = ROOT / "docs" / "howto" / "test-suite.md"
        first, *_ = write_files(page.read_text(), self.directory)
        places = [Path(), *sorted(RELEASES.glob("[0-9]*"))]
        said = {self._version(place, first) for place in places}
        self.assertEqual(len(said), 3, said)

    def _version(self, place: Path, file: Path) -> str:
        """
        Run the tests with the pytest of a directory.

        @return: its version.
        """
        environ = self.environment(PYTHONPATH=str(place), PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, "-m", "pytest", str(file)]
        done = subprocess.run(
            command, env=environ, cwd=self.directory, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = re.search(r"pytest-(\S+)", done.stdout)
        assert found, done.stdout
        return found[1].rstrip(",")
