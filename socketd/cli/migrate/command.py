"""C{socketd import}: convert a configuration of xinetd or inetd to an INI file of socketd."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from socketd.cli.common.atomic_write import PUBLIC, NewFile, place
from socketd.cli.common.output import emit, note
from socketd.cli.migrate import inetd, xinetd_services
from socketd.cli.migrate.ini_writer import join, write
from socketd.cli.migrate.model import Findings, Place, Remark, plain
from socketd.cli.migrate.source_files import SourceFiles, UnreadableError
from socketd.cli.migrate.xinetd_files import Reader
from socketd.cli.migrate.xinetd_syntax import KEYWORDS
from socketd.common.errors import BAD_CONFIGURATION, GOOD, CommandError
from socketd.configuration import configure
from socketd.settings.diagnostics import Diagnostic, SettingsError

NAME = "import"
HELP = "turn a configuration of xinetd or inetd into one of socketd"

DESCRIPTION = """
Reads what xinetd or inetd would: xinetd.conf with all that it includes, a directory like
xinetd.d, or inetd.conf. Writes an INI file with the services that are built into socketd, too
(echo, discard, daytime, chargen, time), and a comment for everything that has no counterpart.
"""

#: Placeholder for the runtime directory of UNIX sockets; no result has any.
RUNTIME = "/run/socketd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments of the subcommand.

    @param parser: the parser of this subcommand.
    """
    parser.description = DESCRIPTION
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="xinetd.conf, a directory like xinetd.d, or inetd.conf",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write here (default: standard output)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file, if there is one")


def run(arguments: argparse.Namespace) -> int:
    """
    Convert the files, and report on standard error.

    @param arguments: the parsed command line.
    @return: the exit status.
    @raise CommandError: when there is no result; then nothing is written.
    """
    findings = read(arguments.paths)
    _tell(findings.problems)
    if not findings.services:
        _tell([*findings.left, *findings.off])
        raise CommandError(f"nothing to write: {summary(findings)}", BAD_CONFIGURATION)
    text = result(findings)
    if arguments.output is None:
        emit(text)
    else:
        data = text.encode("ascii")
        place([NewFile(arguments.output, data, PUBLIC, may_replace=arguments.force)])
    remarks = [remark for service in findings.services for remark in service.remarks]
    _tell(remark for remark in findings.remarks + remarks if remark.is_loud)
    note(f"socketd {NAME}: {summary(findings)}")
    return GOOD


def read(paths: Sequence[str]) -> Findings:
    """
    Read several configurations as one.

    @param paths: files and directories.
    @return: the findings of all of them.
    """
    findings = Findings()
    reader = Reader(SourceFiles(), findings)
    for path in paths:
        _read(path, reader)
    xinetd_services.find(reader)
    return findings


def _read(path: str, reader: Reader) -> None:
    if not os.path.isdir(path):
        _read_file(path, reader)
        return
    for file, lines in reader.files_of(path, Place(path)):
        _sort(file, lines, reader)
    if reader.drafts and not reader.has_defaults:
        text = "has no defaults: those of xinetd.conf, as only_from, count only if it is given"
        reader.findings.remarks.append(Remark(Place(path), text, is_loud=True))


def _read_file(path: str, reader: Reader) -> None:
    try:
        lines = reader.files.lines(path)
    except UnreadableError as error:
        reader.findings.problem(Place(path), str(error))
        return
    _sort(path, lines, reader)


def _sort(path: str, lines: list[str], reader: Reader) -> None:
    if is_xinetd(lines):
        reader.read_file(path, lines)
    else:
        inetd.read(lines, path, reader.findings)


def is_xinetd(lines: Sequence[str]) -> bool:
    """
    Detect the file format: xinetd's has braces alone on a line, or starts every line with a
    keyword.

    @param lines: the lines of a file.
    """
    meant = [line.split() for line in lines if not line.lstrip().startswith("#")]
    words = [found for found in meant if found]
    if not words:
        # Only Debian's inetd.conf has meaningful comments.
        return not any(line.startswith(inetd.SWITCHED_OFF) for line in lines)
    is_braced = any(found in (["{"], ["}"]) for found in words)
    return is_braced or all(found[0].lower() in KEYWORDS for found in words)


def result(findings: Findings) -> str:
    """
    Generate the INI file, and validate it as the daemon would.

    @return: the text of the file.
    @raise CommandError: when the daemon would reject it.
    """
    sections = join(findings.services)
    text = write(findings, sections, {})
    diagnostics = check(text)
    refused = {(found.section, found.option): found.message for found in diagnostics}
    if refused and all(option.startswith("so_") for _, option in refused):
        # Limits of socket buffer sizes differ between systems.
        text = write(findings, sections, refused)
        diagnostics = check(text)
    if diagnostics:
        for complaint in diagnostics:
            note(plain(str(complaint)))
        raise CommandError("the result cannot be loaded; nothing is written", BAD_CONFIGURATION)
    return text


def check(text: str) -> tuple[Diagnostic, ...]:
    """
    Validate a configuration without binding sockets.

    @param text: the text of the INI file.
    @return: the daemon's diagnostics.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "result")
        file.write_text(text, encoding="ascii")
        try:
            configure(str(file), RUNTIME)
        except SettingsError as error:
            return error.diagnostics
    return ()


def summary(findings: Findings) -> str:
    """Summarize the findings in one line."""
    taken, left, off = len(findings.services), len(findings.left), len(findings.off)
    plural = "" if taken == 1 else "s"
    return f"{taken} service{plural} taken, {left} not taken, {off} switched off"


def _tell(remarks: Iterable[Remark]) -> None:
    for line in dict.fromkeys(map(str, remarks)):
        note(line)
