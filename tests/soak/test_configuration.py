"""Tests for the configurations that are reloaded."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from socketd.configuration import configure
from socketd.protocols.qotd import parse_quotes
from socketd.settings.diagnostics import SettingsError
from socketd.settings.model import Settings
from tests.soak import configuration
from tests.support.certificates import issued, write_private


class ConfigurationTests(SynchronousTestCase):
    """Tests for L{tests.soak.configuration}."""

    def setUp(self) -> None:
        """Make a directory for the files."""
        made = TemporaryDirectory(prefix="soak-")
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        configuration.write_quotes(self.directory)
        certificate = issued(configuration.NAME)
        pem = certificate.pem() + certificate.key_pem()
        write_private(str(self.directory / "server.pem"), pem)

    def load(self, text: str) -> Settings:
        """Read a configuration as the daemon does."""
        file = self.directory / "socketd.ini"
        file.write_text(text)
        return configure(str(file), str(self.directory))

    def test_variants(self) -> None:
        """Variants are good, differ in what is variable, and have the same services but one."""
        base = self.load(configuration.base(self.directory))
        names = {service.name for service in base.services}
        texts = {configuration.variant(self.directory, Random(seed)) for seed in range(20)}
        found = [{service.name for service in self.load(text).services} for text in texts]
        self.assertTrue(len(texts) > 10)
        self.assertIn(names, found)
        self.assertIn(names | {"passing"}, found)
        self.assertTrue(all(one - names <= {"passing"} for one in found))

    def test_variables(self) -> None:
        """What is variable is an option of a service that there is, with two values at least."""
        names = {s.name for s in self.load(configuration.base(self.directory)).services}
        for variable in configuration.VARIABLES:
            self.assertIn(variable.service, names)
            self.assertTrue(len(set(variable.values)) > 1, variable)

    def test_bad(self) -> None:
        """Bad files are bad; one whose address is taken reads well."""
        for text in configuration.BAD:
            self.assertRaises(SettingsError, self.load, text)
        self.load(configuration.unbindable(self.directory, ("127.0.0.1", 7)))

    def test_quotes(self) -> None:
        """The quotes are known as the daemon sends them."""
        found = parse_quotes(str(self.directory / "quotes"))
        self.assertEqual(list(found), configuration.quotes())
