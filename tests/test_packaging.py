"""
The frame: what is installed, from which files, with which versions, and by which make targets.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
from base64 import urlsafe_b64encode
from configparser import ConfigParser
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.metadata import Metadata
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import OURS
from tests.support.processes import Daemon
from tests.support.sockets import read_exactly
from tests.support.source_tree import ROOT

REQUIREMENTS = ROOT / "requirements"
PLUGIN = "twisted/plugins/socketd_plugin.py"
LOCKS = ["requirements/run.txt", "requirements/dev.txt"]

#: What a checkout has and a commit has not.
NOT_KEPT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis",
    "_trial_temp*", "dropin.cache",
)

#: When the archives of these tests say that they were made (seconds since 1970), and how the bill
#: of materials writes it.
EPOCH, TIME = 1700000000, "2023-11-14T22:13:20+00:00"

#: Longer than make, pip or a compiler takes on a busy machine (seconds).
DEADLINE = 300.0

#: Where a wheel has its bill of materials (PEP 770).
SBOM = ".dist-info/sboms/socketd.cdx.json"

#: twistd, where only a module of it is there.
TWISTD = "from twisted.scripts.twistd import run; run()"

#: The distributions whose packages are imported under another name.
DISTRIBUTIONS = {"OpenSSL": "pyOpenSSL", "re2": "google-re2", "zope": "zope.interface"}

#: A line of a lock that starts a requirement, and one of its hashes.
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")

#: A Makefile target that a person names; stamps and other files have a dot or a slash.
TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)(.*)$", re.MULTILINE)

#: Where the module of a protocol assigns its C{declaration}.
DECLARATION = re.compile(r"^declaration\b.*=", re.MULTILINE)

#: What names the machine or the registry that a lock was made with.
PLACE = re.compile(r"\S*://\S*|file:\S+|(?<!\S)/\S+|--(?:extra-)?index\S*|--find-links\S*")


def metadata() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(section: str, option: str) -> list[str]:
    """Return the non-empty lines of an option of setup.cfg."""
    return [line.strip() for line in metadata()[section][option].splitlines() if line.strip()]


def pins(name: str) -> dict[str, str]:
    """Return the versions by name that a lock holds."""
    return dict(PIN.findall((REQUIREMENTS / name).read_text(encoding="utf-8")))


def imported(module: Path) -> set[str]:
    """Return the top-level names that a module imports, without importing it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def normal(name: str) -> str:
    """Return the one spelling that names of distributions are compared in."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    """Return the names of what setup.cfg requires, without versions."""
    return {normal(re.split("[<>=~!]", one)[0]) for one in lines("options", "install_requires")}


def needed() -> dict[str, str]:
    """Return the versions by name that a daemon runs with: the lock without the build backend."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    backend = {re.split("[<>=~!]", line)[0] for line in project["build-system"]["requires"]}
    return {name: version for name, version in pins("run.txt").items() if name not in backend}


def run(*command: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """
    Run a command to its end, without what a surrounding make has told its children.

    @param how: arguments of C{subprocess.run}; C{env} is added to the environment.
    """
    hidden = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    how["env"] = kept | how.get("env", {})
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, **how)


def made(*command: str | Path, **how: Any) -> str:
    """Run a command that must not fail, and return what it prints."""
    ended = run(*command, **how)
    if ended.returncode:
        raise AssertionError(f"{command} failed:\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def make_dist(tree: Path, umask: int) -> Path:
    """
    Run C{make dist} in a copy of the sources, with the environment of these tests.

    @return: the folder of what was built.
    """
    environment = Path(sys.prefix)
    command = ["make", "-o", f"{environment}/dev.stamp", f"VENV={environment}", "dist"]
    made(*command, cwd=tree, umask=umask, env={"SOURCE_DATE_EPOCH": str(EPOCH)})
    return tree / "dist"


@cache
def built() -> tuple[Path, Path]:
    """
    Build the archives twice, once for all tests: at two places, of files of different times, with
    different umasks.

    @return: the two folders.
    """
    first, second = Path("first").resolve(), Path("another").resolve()  # in trial's directory
    shutil.copytree(ROOT, first, ignore=NOT_KEPT)
    shutil.copytree(first, second, copy_function=shutil.copy)
    return make_dist(first, 0o022), make_dist(second, 0o077)


@cache
def wheel_contents() -> dict[str, bytes]:
    """Return what the wheel holds by path."""
    [wheel] = built()[0].glob("*.whl")
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def one(suffix: str) -> bytes:
    """Return the only file of the wheel whose path ends so."""
    [found] = [data for name, data in wheel_contents().items() if name.endswith(suffix)]
    return found


def make_environment(directory: Path) -> Path:
    """
    Make an environment with what a daemon runs with, copied from here, and nothing else.

    @return: its Python.
    """
    venv.create(directory, symlinks=True, with_pip=False)
    paths = {"base": str(directory), "platbase": str(directory)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    for name in needed():
        for file in distribution(name).files or []:
            if ".." not in file.parts and file.suffix != ".pyc":  # no scripts
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), packages / file)
    return directory / "bin" / "python"


@cache
def installed() -> Path:
    """
    Install the wheel into a clean environment, once. Nothing may be fetched for it.

    @return: the Python of the environment.
    """
    python = make_environment(Path("clean").resolve())
    [wheel] = built()[0].glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    made(*pip, "--python", python, "install", "--no-index", wheel)
    return python


class BuiltCase(SynchronousTestCase):
    """A test of what is built: the first one waits for two builds and an installation."""

    timeout = 3 * DEADLINE


class PackagesTests(SynchronousTestCase):
    """Tests for the packages that setup.cfg names."""

    def test_plugin_folder_holds_one_plugin(self) -> None:
        """
        The folder twisted/ holds the plugin and no other Python file: Twisted looks for plugins
        only in folders without C{__init__.py}.
        """
        found = [str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py")]
        self.assertEqual(found, [PLUGIN])

    def test_packages_are_those_of_the_tree(self) -> None:
        """
        Every folder of socketd with modules is a package and installed, and nothing else is but
        the plugin.
        """
        folders = {module.parent for module in (ROOT / "socketd").rglob("*.py")}
        bare = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
        self.assertEqual(bare, [])
        found = [".".join(folder.relative_to(ROOT).parts) for folder in folders]
        self.assertEqual(
            sorted(lines("options", "packages")), sorted([*found, "twisted.plugins"])
        )

    def test_every_import_is_a_dependency(self) -> None:
        """
        What socketd imports is its own, the standard library's or named by setup.cfg: nothing is
        there only because something else brought it; the plugin of pytest is imported by pytest.
        """
        named = required()
        for module in (ROOT / "socketd").rglob("*.py"):
            known = {"socketd", "pytest"} if module.name == "pytest_plugin.py" else {"socketd"}
            foreign = imported(module) - sys.stdlib_module_names - known
            needed = {normal(DISTRIBUTIONS.get(name, name)) for name in foreign}
            self.assertLessEqual(needed, named, module)


class EntryPointsTests(SynchronousTestCase):
    """Tests for what is found by name."""

    def test_each_protocol_is_registered(self) -> None:
        """
        The modules below socketd.protocols that assign C{declaration} are the protocols, each
        under the module's own name, with a hyphen for an underscore.
        """
        top = ROOT / "socketd" / "protocols"
        expected = {
            module.stem.replace("_", "-"): f"{module.parent.name}.{module.stem}"
            for module in top.rglob("*.py")
            if DECLARATION.search(module.read_text(encoding="utf-8"))
        }
        self.assertEqual(OURS, expected)
        points = [
            f"{name} = socketd.protocols.{place}:declaration" for name, place in OURS.items()
        ]
        self.assertEqual(lines("options.entry_points", "socketd.protocols"), points)

    def test_the_command_exists(self) -> None:
        """The console script names a function that its module defines."""
        [script] = lines("options.entry_points", "console_scripts")
        target, function = script.partition("=")[2].strip().split(":")
        module = ROOT.joinpath(*target.split(".")).with_suffix(".py")
        body = ast.parse(module.read_bytes()).body
        self.assertIn(function, [node.name for node in body if isinstance(node, ast.FunctionDef)])


class LocksTests(SynchronousTestCase):
    """Tests for the locked versions in requirements/."""

    def test_run_lock_is_made_from_the_dependencies(self) -> None:
        """C{run.in} lists what setup.cfg requires, with the same floors, and the build backend."""
        text = (REQUIREMENTS / "run.in").read_text(encoding="utf-8")
        found = [line for line in text.splitlines() if line and not line.startswith("#")]
        [backend] = re.findall(r'requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text())
        self.assertEqual(
            sorted(found), sorted([*lines("options", "install_requires"), backend])
        )

    def test_every_source_has_its_lock(self) -> None:
        """Each C{.in} file has its C{.txt} and the other way round."""
        sources = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))
        self.assertEqual(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")), sources)

    def test_every_version_has_hashes(self) -> None:
        """Each locked requirement carries the hashes of at least a wheel and a source archive."""
        for lock in REQUIREMENTS.glob("*.txt"):
            blocks = PIN.split(lock.read_text(encoding="utf-8"))[1:]
            for name, rest in zip(blocks[::3], blocks[2::3], strict=True):
                self.assertGreaterEqual(len(HASH.findall(rest)), 2, f"{lock.name}: {name}")

    def test_locks_name_no_place(self) -> None:
        """The locks and their sources hold no address, no index and no path of a machine."""
        for path in REQUIREMENTS.iterdir():
            self.assertEqual(PLACE.findall(path.read_text(encoding="utf-8")), [], path.name)

    def test_locks_agree(self) -> None:
        """The tests run with the versions that the daemon runs with."""
        everything = pins("dev.txt")
        for name, version in pins("run.txt").items():
            self.assertEqual(everything.get(name), version, name)


class MakefileTests(SynchronousTestCase):
    """Tests for the targets of the Makefile."""

    def targets(self) -> dict[str, str]:
        """
        Return what follows the colon, by target; lines that only set a variable are left out.
        """
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        return {name: rest for name, rest in TARGET.findall(text) if " ?= " not in rest}

    def test_every_target_says_what_it_does(self) -> None:
        """Each target that a person names has a C{## text}."""
        silent = [name for name, rest in self.targets().items() if " ## " not in rest]
        self.assertEqual(silent, [])

    def test_every_target_is_phony(self) -> None:
        """A file that happens to be called like a target does not hide it."""
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
        self.assertEqual(phony.split(), list(self.targets()))

    def test_help_is_the_default_and_lists_every_target(self) -> None:
        """Bare C{make} prints one line for each target."""
        printed = made("make", "--no-print-directory", "-C", str(ROOT))
        found = [line.split()[1] for line in printed.splitlines()]
        self.assertEqual(found, list(self.targets()))


class TestAllTests(SynchronousTestCase):
    """Tests for C{make test-all}, with environments and Pythons that only say what they are."""

    def setUp(self) -> None:
        self.tree = Path(self.mktemp()).resolve()
        for name in ("setup.cfg", "pyproject.toml", *LOCKS):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).touch()
        shutil.copy(ROOT / "Makefile", self.tree)

    def python(self, version: str, status: int) -> None:
        """Add a Python whose tests end with a status."""
        environment = self.tree / f".venv-{version}"
        (environment / "bin").mkdir(parents=True)
        (environment / "run.stamp").touch()
        (environment / "dev.stamp").touch()
        copy = "case $1 in */summary.py) exec cat; esac"
        script = f"#!/bin/sh\n{copy}\necho {version} runs\nexit {status}\n"
        (environment / "bin" / "python").write_text(script)
        (self.tree / f"python{version}").write_text("#!/bin/sh\n")
        for program in (environment / "bin" / "python", self.tree / f"python{version}"):
            program.chmod(0o755)

    def make(self, versions: str) -> tuple[int, list[str]]:
        """
        Run it for some versions.

        @return: whether it failed, and what it printed to standard output.
        """
        path = f"{self.tree}:{os.environ['PATH']}"
        ended = run(
            "make", "test-all", f"PYTHONS={versions}", cwd=self.tree, env={"PATH": path}
        )
        return min(ended.returncode, 1), ended.stdout.splitlines()

    def test_each(self) -> None:
        """
        Both kinds of tests run under one Python after the other, each in its own environment.
        """
        self.python("9.1", 0)
        self.python("9.2", 0)
        first = ["python9.1", "9.1 runs", "9.1 runs"]
        expected = [*first, "python9.2", "9.2 runs", "9.2 runs"]
        self.assertEqual(self.make("9.1 9.2"), (0, expected))

    def test_failure(self) -> None:
        """One that fails keeps no other from running, and is named at the end."""
        self.python("9.1", 1)
        self.python("9.2", 0)
        status, printed = self.make("9.1 9.2")
        self.assertEqual((status, printed[-1]), (1, "make: tests failed under Python 9.1"))
        self.assertIn("9.2 runs", printed)

    def test_missing(self) -> None:
        """
        A Python that is missing is a failure with one line, after the others have run, that says
        how to get it.
        """
        self.python("9.2", 0)
        status, printed = self.make("9.1 9.2")
        expected = ["python9.2", "9.2 runs", "9.2 runs"]
        self.assertEqual((status, printed[:-1]), (1, expected))
        self.assertRegex(printed[-1], r"^make: python9\.1 is missing: apt-get install python9\.1")

    def test_names_the_versions_of_the_metadata(self) -> None:
        """It runs what setup.cfg says that socketd runs under."""
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        [versions] = re.findall(r"^PYTHONS \?= (.*)$", text, re.MULTILINE)
        named = "\n".join(lines("metadata", "classifiers"))
        found = re.findall(r":: Python :: (3\.\d+)$", named, re.MULTILINE)
        self.assertEqual(versions.split(), found)


class ArchiveTests(BuiltCase):
    """Tests for what C{make dist} builds."""

    def test_reproducible(self) -> None:
        """
        Built twice, the wheel, the source archive and the bill of materials are the same bytes.
        """
        first, second = (
            {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
            for folder in built()
        )
        self.assertEqual(first, second)
        kinds = {re.sub(r"^socketd-[\d.]+[.-](py3-)?", "", name) for name in first}
        self.assertEqual(kinds, {"none-any.whl", "tar.gz", "cdx.json"})


class VersionTests(SynchronousTestCase):
    """Tests for the places that say the version of setup.cfg once more."""

    def test_said_alike(self) -> None:
        """The changelog begins with it, holes in it are mended, the cluster's example runs it."""
        version = metadata()["metadata"]["version"]
        places = {
            "CHANGELOG.md": (r"^## (\S+) ", version),
            "SECURITY.md": (r"^\| (\S+) \(the newest release", version.rpartition(".")[0]),
            "etc/kubernetes/kustomization.yaml": (r'^ +newTag: "(.*)"$', version),
        }
        for name, (pattern, expected) in places.items():
            said = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
            self.assertEqual(said and said[1], expected, name)


class MetadataTests(BuiltCase):
    """Tests for what the wheel says of itself to an index."""

    def setUp(self) -> None:
        self.found = Metadata.from_email(one(".dist-info/METADATA"))

    def test_source_archive(self) -> None:
        """The source archive says the same."""
        [archive] = built()[0].glob("*.tar.gz")
        with tarfile.open(archive) as tree:
            file = tree.extractfile(f"{archive.name.removesuffix('.tar.gz')}/PKG-INFO")
            assert file is not None
            self.assertEqual(file.read(), one(".dist-info/METADATA"))

    def test_licence(self) -> None:
        """The licence is an SPDX expression with its file, and no classifier beside it."""
        self.assertEqual(self.found.license_expression, "MIT")
        self.assertEqual(self.found.license_files, ["LICENSE"])
        one(".dist-info/licenses/LICENSE")
        self.assertEqual(re.findall("License ::.*", "\n".join(self.found.classifiers or [])), [])

    def test_addresses(self) -> None:
        """The source is what README clones, and each page is one that the site has."""
        urls = dict(self.found.project_urls or {})
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertIn(f"git clone {urls.pop('Source')}\n", readme)
        home = urls.pop("Homepage")
        self.assertEqual(sorted(urls), ["Changelog", "Documentation"])
        for page in urls.values():
            path = ROOT / page.removeprefix(home).replace(".html", ".md")
            self.assertTrue(path.is_file(), page)

    def test_readme(self) -> None:
        """Its page at an index is README."""
        self.assertEqual(self.found.description_content_type, "text/markdown")
        self.assertEqual(self.found.description, (ROOT / "README.md").read_text(encoding="utf-8"))

    def test_python(self) -> None:
        """Each Python that is named may install it, and the one before them may not."""
        named = "\n".join(self.found.classifiers or [])
        versions = re.findall(r":: Python :: 3\.(\d+)$", named, re.MULTILINE)
        wanted = self.found.requires_python
        assert wanted is not None
        allowed = [minor for minor in range(30) if f"3.{minor}.0" in wanted]
        self.assertEqual(allowed[: len(versions)], [int(minor) for minor in versions])

    def test_typed(self) -> None:
        """Type checkers read its annotations: those of socketd.testing are for users."""
        self.assertIn("Typing :: Typed", self.found.classifiers or [])
        self.assertIn("socketd/py.typed", wheel_contents())


class WheelTests(BuiltCase):
    """Tests for the wheel that is built from this tree."""

    def setUp(self) -> None:
        self.contents = wheel_contents()

    def test_plugin_is_all_that_goes_beside_twisted(self) -> None:
        """The wheel puts one file into the twisted package's folder: the plugin."""
        self.assertEqual([name for name in self.contents if name.startswith("twisted/")], [PLUGIN])

    def test_every_module_is_in_the_wheel(self) -> None:
        """The wheel holds the modules of socketd, all and unchanged."""
        for module in (ROOT / "socketd").rglob("*.py"):
            name = str(module.relative_to(ROOT))
            self.assertEqual(self.contents.get(name), module.read_bytes(), name)

    def test_default_configuration_is_data(self) -> None:
        """The default INI file is installed under the environment's C{etc/socketd/}."""
        place = ".data/data/etc/socketd/socketd.ini"
        data = [text for name, text in self.contents.items() if name.endswith(place)]
        self.assertEqual(data, [(ROOT / "etc" / "socketd.ini").read_bytes()])
        place = ".data/data/share/doc/socketd/examples/faults.ini"
        data = [text for name, text in self.contents.items() if name.endswith(place)]
        self.assertEqual(data, [(ROOT / "etc" / "faults.ini").read_bytes()])

    def test_nothing_else_is_in_the_wheel(self) -> None:
        """
        Tests, benchmarks and tools stay out: the wheel holds socketd, the plugin and its data.
        """
        folders = {re.sub(r"^socketd-[^/]*\.", "", name.split("/")[0]) for name in self.contents}
        self.assertEqual(folders, {"socketd", "twisted", "data", "dist-info"})

    def test_record(self) -> None:
        """The wheel's own list has each of its files, with hash and length; itself without."""
        expected = {}
        for name, data in self.contents.items():
            digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            is_record = name.endswith(".dist-info/RECORD")
            expected[name] = ["", ""] if is_record else [f"sha256={digest}", str(len(data))]
        rows = csv.reader(one(".dist-info/RECORD").decode().splitlines())
        self.assertEqual({name: rest for name, *rest in rows}, expected)

    def test_pure(self) -> None:
        """It serves every Python 3 and every architecture."""
        text = one(".dist-info/WHEEL").decode()
        self.assertIn("Root-Is-Purelib: true\n", text)
        self.assertEqual(re.findall("^Tag: (.*)$", text, re.MULTILINE), ["py3-none-any"])


class MaterialsTests(BuiltCase):
    """Tests for the bill of materials."""

    def setUp(self) -> None:
        self.text = one(SBOM).decode()
        self.document = json.loads(self.text)

    def test_valid(self) -> None:
        """It is what CycloneDX says that it must be, and nothing more."""
        version = SchemaVersion.from_version(self.document["specVersion"])
        self.assertIsNone(JsonStrictValidator(version).validate_str(self.text))

    def test_beside_the_wheel(self) -> None:
        """The one in the wheel and the one beside it are the same."""
        [file] = built()[0].glob("*.cdx.json")
        self.assertEqual(file.read_text(encoding="utf-8"), self.text)

    def test_subject(self) -> None:
        """It describes this version of socketd, under its licence, at the time that was given."""
        subject = self.document["metadata"]["component"]
        about = metadata()["metadata"]
        self.assertEqual((subject["name"], subject["version"]), ("socketd", about["version"]))
        self.assertEqual(subject["licenses"][0]["license"]["id"], about["license_expression"])
        self.assertEqual(self.document["metadata"]["timestamp"], TIME)

    def test_components_are_the_lock(self) -> None:
        """
        Its components are what the run lock pins, in these versions, without the build backend.
        """
        found = [(normal(each["name"]), each["version"]) for each in self.document["components"]]
        self.assertEqual(sorted(found), sorted(needed().items()))

    def test_components_say_what_they_are(self) -> None:
        """Each component has a licence and the address that scanners know it by."""
        for component in self.document["components"]:
            self.assertTrue(component["licenses"], component["name"])
            name, version = component["purl"].removeprefix("pkg:pypi/").split("@")
            expected = normal(component["name"]), component["version"]
            self.assertEqual((normal(name), version), expected)

    def test_each_component_is_needed(self) -> None:
        """What socketd requires, and what that requires in turn, is all that there is."""
        graph = {row["ref"]: row.get("dependsOn", []) for row in self.document["dependencies"]}
        root = self.document["metadata"]["component"]["bom-ref"]
        reached, left = set(), [root]
        while left:
            reached.add(ref := left.pop())
            left += [other for other in graph[ref] if other not in reached]
        components = {component["bom-ref"] for component in self.document["components"]}
        self.assertEqual(reached, components | {root})
        self.assertEqual({normal(ref.partition("==")[0]) for ref in graph[root]}, required())

    def test_names_no_place(self) -> None:
        """It holds no path of the machine that it was made on, and no number of chance."""
        for place in ("file:", str(ROOT), sys.prefix, tempfile.gettempdir()):
            self.assertNotIn(place, self.text)
        self.assertNotIn("serialNumber", self.document)

    def test_other_versions_are_refused(self) -> None:
        """An environment that is not that of the lock is not described: one line says why."""
        tree = Path(self.mktemp()).resolve()
        for name in ("packaging/write_sbom.py", "pyproject.toml", "setup.cfg", LOCKS[0]):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
        lock = tree / LOCKS[0]
        lock.write_text(re.sub("^attrs==.*", "attrs==1.0", lock.read_text(), flags=re.MULTILINE))
        ended = run(sys.executable, tree / "packaging" / "write_sbom.py", tree / "sbom")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, r"\Awrite_sbom: attrs is 1\.0 in the lock and .*\n\Z")
        self.assertFalse((tree / "sbom").exists())


class CleanEnvironmentTests(BuiltCase):
    """Tests for the wheel where nothing is installed but what it requires."""

    def setUp(self) -> None:
        self.python = installed()

    def test_every_module_is_importable(self) -> None:
        """No module needs what only the environment of the tests has."""
        files = [name for name in wheel_contents() if re.match(r"socketd/.*\.py$", name)]
        modules = [name.removesuffix(".py").replace("/", ".") for name in files]
        modules.remove("socketd.__main__")  # it would run
        modules.remove("socketd.pytest_plugin")  # only pytest does it
        made(self.python, "-I", "-c", f"import {', '.join(modules)}")

    def test_page(self) -> None:
        """The files of the status page came along."""
        files = sorted(path.name for path in (ROOT / "socketd" / "web" / "files").iterdir())
        program = "from importlib.resources import files; place = files('socketd.web') / 'files'"
        program += f"; assert sorted(one.name for one in place.iterdir()) == {files}"
        made(self.python, "-I", "-c", program)

    def test_command(self) -> None:
        """
        The C{socketd} command is there and finds nothing wrong with the INI file that came along.
        """
        file = self.python.parent.parent / "etc" / "socketd" / "socketd.ini"
        made(self.python.with_name("socketd"), "check", file)

    def test_serves(self) -> None:
        """twistd finds the plugin, and the daemon answers."""
        file = Path(self.mktemp()).resolve()
        file.write_text("[echo]\nlisten = tcp:0:interface=127.0.0.1\n")
        command = [str(self.python), "-I", "-c", TWISTD, "--nodaemon", "--pidfile="]
        with Daemon([*command, "socketd", "--config", str(file)]) as daemon:
            with daemon.connect("echo") as sock:
                sock.sendall(b"hello\n")
                self.assertEqual(read_exactly(sock, 6), b"hello\n")
