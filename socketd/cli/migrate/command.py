"""
C{socketd import}: from a configuration of xinetd or inetd to one of ours.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from socketd.cli.common.atomic_write import PUBLIC, NewFile, place
from socketd.cli.common.errors import BAD_CONFIGURATION, GOOD, CommandError
from socketd.cli.common.output import emit, note
from socketd.cli.migrate import inetd, xinetd_services
from socketd.cli.migrate.ini_writer import join, write
from socketd.cli.migrate.model import Findings, Place, Remark, plain
from socketd.cli.migrate.source_files import SourceFiles, UnreadableError
from socketd.cli.migrate.xinetd_files import Reader
from socketd.cli.migrate.xinetd_syntax import KEYWORDS
from socketd.configuration import configure
from socketd.settings.diagnostics import Diagnostic, SettingsError

NAME = "import"
HELP = "turn a configuration of xinetd or inetd into one of socketd"

DESCRIPTION = """
Reads what xinetd or inetd would: xinetd.conf with all that it includes, a directory like
xinetd.d, or inetd.conf. Writes an INI file with the services that are built into socketd, too
(echo, discard, daytime, chargen, time), and a comment for everything that has no counterpart.
"""

RUNTIME = "/run/socketd"
"""
Stands in for the directory of UNIX sockets, which no result has.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments.

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
    Read, write, and say on standard error what became of it.

    @param arguments: what was parsed.
    @return: the exit status.
    @raise CommandError: when nothing can be written; then nothing is.
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
    Read configurations, all as if they were one.

    @param paths: files and directories.
    @return: what is in them.
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
    Tell the two kinds of file apart: xinetd's has braces alone on a line, or nothing but its
    keywords at the beginning of lines.

    @param lines: the lines of a file.
    """
    meant = [line.split() for line in lines if not line.lstrip().startswith("#")]
    words = [found for found in meant if found]
    if not words:
        # Nobody but Debian's inetd says something in comments.
        return not any(line.startswith(inetd.SWITCHED_OFF) for line in lines)
    is_braced = any(found in (["{"], ["}"]) for found in words)
    return is_braced or all(found[0].lower() in KEYWORDS for found in words)


def result(findings: Findings) -> str:
    """
    Write the INI file, and load it as the daemon would.

    @return: its text.
    @raise CommandError: when the daemon would not take it.
    """
    sections = join(findings.services)
    text = write(findings, sections, {})
    diagnostics = check(text)
    refused = {(found.section, found.option): found.message for found in diagnostics}
    if refused and all(option.startswith("so_") for _, option in refused):
        # Sizes of buffers, which differ between systems.
        text = write(findings, sections, refused)
        diagnostics = check(text)
    if diagnostics:
        for complaint in diagnostics:
            note(plain(str(complaint)))
        raise CommandError("the result cannot be loaded; nothing is written", BAD_CONFIGURATION)
    return text


def check(text: str) -> tuple[Diagnostic, ...]:
    """
    Load a configuration, and bind nothing.

    @param text: the INI file.
    @return: what the daemon would complain of.
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
    """
    Count in words.
    """
    taken, left, off = len(findings.services), len(findings.left), len(findings.off)
    plural = "" if taken == 1 else "s"
    return f"{taken} service{plural} taken, {left} not taken, {off} switched off"


def _tell(remarks: Iterable[Remark]) -> None:
    for line in dict.fromkeys(map(str, remarks)):
        note(line)
