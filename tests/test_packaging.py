"""
The frame: what is installed, from which files, with which versions, and by which make targets.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from zipfile import ZipFile

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
PLUGIN = "twisted/plugins/socketd_plugin.py"

#: What a wheel is made of, besides the frame itself.
SOURCES = ["socketd", "twisted", "etc", "docs"]
FRAME = ["setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"]

#: The distributions whose packages are imported under another name.
DISTRIBUTIONS = {"OpenSSL": "pyOpenSSL", "zope": "zope.interface"}

#: A line of a lock that starts a requirement, and one of its hashes.
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")

#: A Makefile target that a person names; stamps and other files have a dot or a slash.
TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)(.*)$", re.MULTILINE)

#: What names the machine or the registry that a lock was made with.
PLACE = re.compile(r"\S*://\S*|file:\S+|(?<!\S)/\S+|--(?:extra-)?index\S*|--find-links\S*")

BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def metadata() -> ConfigParser:
    """
    Read setup.cfg.
    """
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(section: str, option: str) -> list[str]:
    """
    Return the non-empty lines of an option of setup.cfg.
    """
    return [line.strip() for line in metadata()[section][option].splitlines() if line.strip()]


def pins(name: str) -> dict[str, str]:
    """
    Return the versions by name that a lock holds.
    """
    return dict(PIN.findall((REQUIREMENTS / name).read_text(encoding="utf-8")))


def declares(module: Path) -> bool:
    """
    Tell whether a module assigns C{declaration}, without importing it.
    """
    targets: list[ast.expr] = []
    for statement in ast.parse(module.read_bytes()).body:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return "declaration" in [ast.unparse(target) for target in targets]


def imported(module: Path) -> set[str]:
    """
    Return the top-level names that a module imports, without importing it.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def normal(name: str) -> str:
    """
    Return the one spelling that names of distributions are compared in.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def wheel_contents() -> dict[str, bytes]:
    """
    Build a wheel of a copy of the sources, once, and return what it holds by path.
    """
    directory = Path("wheel").resolve()  # in trial's temporary directory
    tree = directory / "tree"
    for name in SOURCES:
        leave_out = shutil.ignore_patterns("__pycache__", "dropin.cache")
        shutil.copytree(ROOT / name, tree / name, ignore=leave_out, dirs_exist_ok=True)
    for name in FRAME:
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-c", BUILD_WHEEL, str(directory)]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
    if built.returncode:
        raise AssertionError(f"no wheel was built:\n{built.stderr}")
    [wheel] = directory.glob("*.whl")
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class PackagesTests(SynchronousTestCase):
    """
    Tests for the packages that setup.cfg names.
    """

    def test_plugin_folders_are_no_packages(self) -> None:
        """
        Twisted looks for plugins only in folders without C{__init__.py}.
        """
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_plugin_folder_holds_one_plugin(self) -> None:
        """
        The folder twisted/ holds the plugin and no other Python file.
        """
        found = [str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py")]
        self.assertEqual(found, [PLUGIN])

    def test_packages_are_those_of_the_tree(self) -> None:
        """
        Every folder of socketd with an C{__init__.py} is installed, and nothing else is but
        the plugin.
        """
        inits = (ROOT / "socketd").rglob("__init__.py")
        found = [".".join(init.parent.relative_to(ROOT).parts) for init in inits]
        self.assertEqual(
            sorted(lines("options", "packages")), sorted([*found, "twisted.plugins"])
        )

    def test_each_folder_of_modules_is_a_package(self) -> None:
        """
        No folder of socketd holds modules without being a package, which would leave them out.
        """
        folders = {module.parent for module in (ROOT / "socketd").rglob("*.py")}
        bare = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
        self.assertEqual(bare, [])

    def test_every_import_is_a_dependency(self) -> None:
        """
        What socketd imports is its own, the standard library's or named by setup.cfg: nothing is
        there only because something else brought it.
        """
        requirements = lines("options", "install_requires")
        named = {normal(re.split("[<>=~!]", line)[0]) for line in requirements}
        for module in (ROOT / "socketd").rglob("*.py"):
            foreign = imported(module) - sys.stdlib_module_names - {"socketd"}
            needed = {normal(DISTRIBUTIONS.get(name, name)) for name in foreign}
            self.assertLessEqual(needed, named, module)


class EntryPointsTests(SynchronousTestCase):
    """
    Tests for the entry points that setup.cfg names.
    """

    def test_each_protocol_has_its_entry_point(self) -> None:
        """
        The modules of socketd.protocols that assign C{declaration} are the entry points of the
        group, each under the module's own name.
        """
        modules = (ROOT / "socketd" / "protocols").glob("*.py")
        expected = [
            f"{module.stem} = socketd.protocols.{module.stem}:declaration"
            for module in modules
            if declares(module)
        ]
        found = lines("options.entry_points", "socketd.protocols")
        self.assertEqual(found, sorted(expected))

    def test_the_command_exists(self) -> None:
        """
        The console script names a function that its module defines.
        """
        [script] = lines("options.entry_points", "console_scripts")
        target, function = script.partition("=")[2].strip().split(":")
        module = ROOT.joinpath(*target.split(".")).with_suffix(".py")
        body = ast.parse(module.read_bytes()).body
        self.assertIn(function, [node.name for node in body if isinstance(node, ast.FunctionDef)])


class LocksTests(SynchronousTestCase):
    """
    Tests for the locked versions in requirements/.
    """

    def test_run_lock_is_made_from_the_dependencies(self) -> None:
        """
        C{run.in} lists what setup.cfg requires, with the same floors, and the build backend.
        """
        text = (REQUIREMENTS / "run.in").read_text(encoding="utf-8")
        found = [line for line in text.splitlines() if line and not line.startswith("#")]
        [backend] = re.findall(r'requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text())
        self.assertEqual(
            sorted(found), sorted([*lines("options", "install_requires"), backend])
        )

    def test_every_source_has_its_lock(self) -> None:
        """
        Each C{.in} file has its C{.txt} and the other way round.
        """
        sources = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))
        self.assertEqual(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")), sources)

    def test_every_version_has_hashes(self) -> None:
        """
        Each locked requirement carries the hashes of at least a wheel and a source archive.
        """
        for lock in REQUIREMENTS.glob("*.txt"):
            blocks = PIN.split(lock.read_text(encoding="utf-8"))[1:]
            for name, rest in zip(blocks[::3], blocks[2::3], strict=True):
                self.assertGreaterEqual(len(HASH.findall(rest)), 2, f"{lock.name}: {name}")

    def test_locks_name_no_place(self) -> None:
        """
        The locks and their sources hold no address, no index and no path of a machine.
        """
        for path in REQUIREMENTS.iterdir():
            self.assertEqual(PLACE.findall(path.read_text(encoding="utf-8")), [], path.name)

    def test_locks_agree(self) -> None:
        """
        The tests run with the versions that the daemon runs with.
        """
        everything = pins("dev.txt")
        for name, version in pins("run.txt").items():
            self.assertEqual(everything.get(name), version, name)


class MakefileTests(SynchronousTestCase):
    """
    Tests for the targets of the Makefile.
    """

    def targets(self) -> dict[str, str]:
        """
        Return what follows the colon, by target; lines that only set a variable are left out.
        """
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        return {name: rest for name, rest in TARGET.findall(text) if " ?= " not in rest}

    def test_every_target_says_what_it_does(self) -> None:
        """
        Each target that a person names has a C{## text}.
        """
        silent = [name for name, rest in self.targets().items() if " ## " not in rest]
        self.assertEqual(silent, [])

    def test_every_target_is_phony(self) -> None:
        """
        A file that happens to be called like a target does not hide it.
        """
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
        self.assertEqual(phony.split(), list(self.targets()))

    def test_help_is_the_default_and_lists_every_target(self) -> None:
        """
        Bare C{make} prints one line for each target.
        """
        command = ["make", "--no-print-directory", "-C", str(ROOT)]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        found = [line.split()[1] for line in printed.splitlines()]
        self.assertEqual(found, list(self.targets()))


class WheelTests(SynchronousTestCase):
    """
    Tests for the wheel that is built from this tree.
    """

    def setUp(self) -> None:
        self.contents = wheel_contents()

    def test_plugin_is_all_that_goes_beside_twisted(self) -> None:
        """
        The wheel puts one file into the twisted package's folder: the plugin.
        """
        self.assertEqual([name for name in self.contents if name.startswith("twisted/")], [PLUGIN])

    def test_every_module_is_in_the_wheel(self) -> None:
        """
        The wheel holds the modules of socketd, all and unchanged.
        """
        for module in (ROOT / "socketd").rglob("*.py"):
            name = str(module.relative_to(ROOT))
            self.assertEqual(self.contents.get(name), module.read_bytes(), name)

    def test_default_configuration_is_data(self) -> None:
        """
        The default INI file is installed under the environment's C{etc/socketd/}.
        """
        place = ".data/data/etc/socketd/socketd.ini"
        data = [text for name, text in self.contents.items() if name.endswith(place)]
        self.assertEqual(data, [(ROOT / "etc" / "socketd.ini").read_bytes()])

    def test_nothing_else_is_in_the_wheel(self) -> None:
        """
        Tests, benchmarks and tools stay out: the wheel holds socketd, the plugin and its data.
        """
        folders = {re.sub(r"^socketd-[^/]*\.", "", name.split("/")[0]) for name in self.contents}
        self.assertEqual(folders, {"socketd", "twisted", "data", "dist-info"})
