"""C{socketd import}: convert a configuration of xinetd or inetd to an INI file of socketd."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from socketd.cli.common.atomic_write import PUBLIC, NewFile, write_files
from socketd.cli.common.output import emit, note
from socketd.cli.migrate import inetd, xinetd_services
from socketd.cli.migrate.ini_writer import join, write
from socketd.cli.migrate.model import NOT_READ, Findings, Note, Place
from socketd.cli.migrate.xinetd_files import UNREADABLE, Reader
from socketd.cli.migrate.xinetd_syntax import KEYWORDS
from socketd.common.errors import BAD_CONFIGURATION, GOOD, CommandError, reason_of
from socketd.common.paths import SYSTEM_RUNTIME
from socketd.configuration import configure
from socketd.settings.diagnostics import Diagnostic, SettingsError

DESCRIPTION = """
Reads what xinetd or inetd would: xinetd.conf with all that it includes, a directory like
xinetd.d, or inetd.conf. Writes an INI file with the services that are built into socketd, too
(echo, discard, daytime, chargen, time). Each thing that has no counterpart is one comment, "not
converted: ATTRIBUTE (FILE:LINE)"; what restricted access is also told on standard error.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "paths", metavar="PATH", nargs="+",
        help="xinetd.conf, a directory like xinetd.d, or inetd.conf",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write here (default: standard output)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file, if there is one")


def run(arguments: argparse.Namespace) -> int:
    """Convert the files, and report on standard error; without a result nothing is written."""
    findings = read(arguments.paths)
    if not findings.services:
        _tell(findings.notes)
        raise CommandError(f"nothing to write: {summary(findings)}", BAD_CONFIGURATION)
    text = result(findings)
    if arguments.output is None:
        emit(text)
    else:
        data = text.encode("ascii")
        write_files([NewFile(arguments.output, data, PUBLIC, may_replace=arguments.force)])
    notes = findings.notes + [one for service in findings.services for one in service.notes]
    _tell(one for one in notes if one.is_loud)
    note(f"socketd import: {summary(findings)}")
    return GOOD


def read(paths: Sequence[str]) -> Findings:
    """Read several configurations as one."""
    findings = Findings()
    reader = Reader(findings)
    for path in paths:
        _read(path, reader)
    xinetd_services.find(reader)
    return findings


def _read(path: str, reader: Reader) -> None:
    if not os.path.isdir(path):
        try:
            lines = reader.lines(path)
        except UNREADABLE as error:
            reader.findings.note(Place(path), reason_of(error), is_loud=True, verb=NOT_READ)
        else:
            _sort(path, lines, reader)
        return
    for file, lines in reader.files_of(path, Place(path)):
        _sort(file, lines, reader)
    if reader.services and not reader.has_defaults:
        # They may restrict access.
        text = "defaults of xinetd.conf"
        reader.findings.note(Place(path), text, is_loud=True, verb=NOT_READ)


def _sort(path: str, lines: list[str], reader: Reader) -> None:
    if is_xinetd(lines):
        reader.read_file(path, lines)
    else:
        inetd.read(lines, path, reader.findings)


def is_xinetd(lines: Sequence[str]) -> bool:
    """Detect the file format: xinetd's has lone braces, or a keyword on every line."""
    words = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not words:
        # Only Debian's inetd.conf has meaningful comments.
        return not any(line.startswith(inetd.OFF) for line in lines)
    is_braced = any(found in (["{"], ["}"]) for found in words)
    return is_braced or all(found[0].lower() in KEYWORDS for found in words)


def result(findings: Findings) -> str:
    """Generate the INI file; raise L{CommandError} when the daemon would reject it."""
    sections = join(findings.services)
    text = write(findings, sections)
    diagnostics = check(text)
    refused = {(found.section, found.option) for found in diagnostics}
    if refused and all(option.startswith("so_") for _, option in refused):
        # Limits of socket buffer sizes differ between systems.
        text = write(findings, sections, refused)
        diagnostics = check(text)
    if diagnostics:
        for diagnostic in diagnostics:
            note(str(diagnostic))
        raise CommandError("the result cannot be loaded; nothing is written", BAD_CONFIGURATION)
    return text


def check(text: str) -> tuple[Diagnostic, ...]:
    """Return the daemon's diagnostics for a configuration, without binding sockets."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "result")
        file.write_text(text, encoding="ascii")
        try:
            configure(str(file), SYSTEM_RUNTIME)
        except SettingsError as error:
            return error.diagnostics
    return ()


def summary(findings: Findings) -> str:
    """Summarize the findings in one line."""
    count = len(findings.services)
    plural = "" if count == 1 else "s"
    return f"{count} service{plural} converted, {findings.left} not, {findings.off} switched off"


def _tell(notes: Iterable[Note]) -> None:
    for line in dict.fromkeys(map(str, notes)):
        note(line)
