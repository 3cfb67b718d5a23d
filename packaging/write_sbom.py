"""
Write the bill of materials (CycloneDX, as JSON) of what a daemon runs with.

usage: python packaging/write_sbom.py FILE, with the Python of the environment

The tool describes an environment, and that of a checkout holds much that no daemon needs. So it
is shown another one: nothing is in it but the metadata of what requirements/run.txt pins, as it is
installed here. Nothing is fetched for it, and it does not matter where and with which Python 3.x
it is done. SOURCE_DATE_EPOCH is its time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The newest that scanners read widely; a later one would say nothing more of this.
FORMAT = "1.6"

#: A line of a lock that starts a requirement.
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins() -> dict[str, str]:
    """
    Return the locked versions by name, without the build backend: it is in the lock for checkouts.
    """
    locked = dict(PIN.findall((ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")))
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    for requirement in build["requires"]:
        del locked[re.split("[<>=~!]", requirement)[0]]
    return locked


def metadata(name: str, version: str) -> str:
    """
    Return what an installed distribution says of itself.

    @raise SystemExit: it is missing, or of another version than the lock's.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        sys.exit(f"write_sbom: {name} is not installed; make distclean, and again")
    if found.version != version:
        sys.exit(
            f"write_sbom: {name} is {version} in the lock and {found.version} here; "
            "make distclean, and again"
        )
    return found.read_text("METADATA") or ""


def make_environment(directory: Path) -> None:
    """Make an environment that holds the metadata of the pinned distributions."""
    venv.create(directory, symlinks=True, with_pip=False)
    paths = {"base": str(directory), "platbase": str(directory)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    for name, version in pins().items():
        folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(metadata(name, version), encoding="utf-8")


def project() -> str:
    """Return what setup.cfg says of socketd, as the pyproject.toml that the tool wants."""
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    about = parser["metadata"]
    values: dict[str, str | list[str]] = {
        "name": about["name"],
        "version": about["version"],
        "description": about["description"],
        "license": about["license_expression"],
        "dependencies": parser["options"]["install_requires"].split(),
    }
    # A string or a list of JSON is one of TOML.
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
    return "".join(["[project]\n", *lines])


def main(file: str) -> int:
    """Write the file, and return the tool's exit status."""
    with tempfile.TemporaryDirectory() as directory:
        environment = Path(directory, "environment")
        description = Path(directory, "pyproject.toml")
        make_environment(environment)
        description.write_text(project(), encoding="utf-8")
        command = [sys.executable, "-m", "cyclonedx_py", "environment"]
        command += ["--pyproject", str(description), "--spec-version", FORMAT]
        command += ["--output-reproducible", "--validate", "--output-file", file, str(environment)]
        # What PYTHONPATH adds would be described, too.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
