"""C{socketd certificate}: server and client certificates for development."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from socketd.cli.common.arguments import argument_type, whole_number
from socketd.cli.common.atomic_write import PRIVATE, PUBLIC, NewFile, write_files
from socketd.cli.common.output import emit
from socketd.common.errors import GOOD, USAGE, CommandError, reason_of
from socketd.common.host_names import bracketed, parse_name

if TYPE_CHECKING:
    from socketd.cli.system.development_ca import Issued

DEFAULT_DAYS = 365

#: Longest validity that clients accept; one vendor's enforce it even for a private authority.
MAX_DAYS = 825

#: Bounds the certificate, which should fit the first packets of a handshake.
MAX_NAMES = 100

DESCRIPTION = """
Makes DIR/ca.pem and DIR/ca.key, unless they exist, and has them sign server.pem for the names and
client.pem, with their keys. Trust ca.pem on the machines of developers only, and keep ca.key
private: its owner can impersonate any server to them.
"""

AUTHORITY, SERVER, CLIENT = "ca", "server", "client"

_REPORT = """\
{wrote}

In the section of a service with a tls: listener:
tls_certificate = {server}.pem
tls_key = {server}.key

To try it:
socketd send --tls --ca {authority} {address} hello
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "names", metavar="NAME", nargs="+", type=argument_type(parse_name),
        help="a name of the server: a DNS name, *.DOMAIN or an IP address",
    )  # fmt: skip
    parser.add_argument(
        "--directory", metavar="DIR", type=Path, default=Path("."),
        help="where the files go (default: here; created if missing)",
    )  # fmt: skip
    parser.add_argument(
        "--days", metavar="N", type=whole_number(MAX_DAYS), default=DEFAULT_DAYS,
        help=f"validity in days (default {DEFAULT_DAYS})",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true", help="replace existing certificates, never the CA"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the certificates; if they cannot be created, nothing is written."""
    names = list(dict.fromkeys(arguments.names))
    if len(names) > MAX_NAMES:
        message = f"{len(names)} names are too many; up to {MAX_NAMES} would be right"
        raise CommandError(message, USAGE)
    with ExitStack() as undo:
        directory: Path = arguments.directory
        try:
            directory.mkdir()
            undo.callback(directory.rmdir)
        except FileExistsError:
            pass
        except OSError as error:
            raise CommandError(f"{directory}: {reason_of(error)}") from error
        files = make(directory, names, arguments.days, time.time(), arguments.force)
        write_files(files)
        undo.pop_all()
    emit(_report(files, names))
    return GOOD


def make(
    directory: Path, names: Sequence[str], days: int, now: float, is_forced: bool = False
) -> list[NewFile]:
    """
    Create the certificates in memory, and those of the authority if it is new.

    @param is_forced: whether they may replace files; an authority is never replaced, because
        clients that trust the old one would reject all that the new one issues.
    """
    from socketd.cli.system import development_ca

    today = development_ca.utc(now)
    certificate, key = (directory / f"{AUTHORITY}.{suffix}" for suffix in ("pem", "key"))
    files: list[NewFile] = []
    if _exists(certificate, key):
        authority = development_ca.load_authority(str(certificate), str(key), today)
    else:
        authority = development_ca.make_authority(today)
        files += _files(directory, AUTHORITY, authority)
    server = development_ca.issue(authority, names, today, days)
    # The chain includes the authority: peers that do not know it can at least display it.
    issued = _files(directory, SERVER, server, authority.certificate_pem)
    client = development_ca.issue(authority, [development_ca.CLIENT], today, days, is_client=True)
    issued += _files(directory, CLIENT, client)
    return files + [evolve(file, may_replace=is_forced) for file in issued]


def _exists(certificate: Path, key: Path) -> bool:
    present = [os.path.lexists(path) for path in (certificate, key)]
    if any(present) and not all(present):
        found, missing = (certificate, key) if present[0] else (key, certificate)
        raise CommandError(f"{found} exists without {missing.name}; both or none would be right")
    return all(present)


def _files(directory: Path, stem: str, issued: Issued, chain: bytes = b"") -> list[NewFile]:
    certificate = issued.certificate_pem + chain
    return [
        NewFile(directory / f"{stem}.pem", certificate, PUBLIC),
        NewFile(directory / f"{stem}.key", issued.key_pem, PRIVATE),
    ]


def _report(files: Sequence[NewFile], names: Sequence[str]) -> str:
    directory = files[0].path.parent
    plain = [name for name in names if not name.startswith("*")]
    name = plain[0] if plain else names[0].replace("*", "any", 1)
    return _REPORT.format(
        wrote="\n".join(f"wrote {file.path}" for file in files),
        server=os.path.abspath(directory / SERVER),
        authority=shlex.quote(str(directory / f"{AUTHORITY}.pem")),
        address=shlex.quote(f"{bracketed(name)}:PORT"),
    )
