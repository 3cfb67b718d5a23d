"""Reads configurations of xinetd: includes, and the effect of C{defaults} on the services."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from socketd.cli.migrate import xinetd_syntax
from socketd.cli.migrate.model import NOT_READ, Findings, Place
from socketd.cli.migrate.xinetd_syntax import Attribute, Entry
from socketd.cli.migrate.xinetd_values import Sources, changed
from socketd.common.errors import reason_of

#: Maximum file size in bytes, far above any super-server's configuration; bound, in case the path
#: names some other large file.
MAX_FILE_BYTES = 1024 * 1024

#: Maximum number of files; a directory has some dozens. Bounds files that include others
#: repeatedly.
MAX_FILES = 1000

#: Maximum include depth, usually one; bounds a file that includes itself.
MAX_DEPTH = 16

#: The access lists.
ACCESS = ("only_from", "no_access")

#: The lists of service ids in C{defaults}.
SWITCHES = ("enabled", "disabled")

#: Attributes that a service inherits from C{defaults}, and that are converted.
INHERITED = ("bind", "cps", "instances", "per_source", "v6only")

SYNONYMS = {"interface": "bind"}

#: Attributes without which no further peer is served. All others are loud, unknown ones too: one
#: may be a misspelled C{only_from}.
HARMLESS = frozenset(
    (
        *INHERITED, *SYNONYMS, "banner", "banner_fail", "banner_success", "deny_time", "env",
        "group", "groups", "log_on_failure", "log_on_success", "log_type", "mdns", "nice",
        "passenv", "redirect", "rlimit_as", "rlimit_cpu", "rlimit_data", "rlimit_files",
        "rlimit_rss", "rlimit_stack", "rpc_number", "rpc_version", "server", "server_args",
        "umask", "user", "wait",
    )
)  # fmt: skip


#: What is raised where a file or directory cannot be read; L{reason_of} says why.
UNREADABLE = (OSError, ValueError)


@define
class Reader:
    """
    Reads files and their includes, with a limit on their number.

    @ivar services: the services in xinetd's reading order, each with the access lists of the
        C{defaults} read so far.
    @ivar switches: the service lists of C{defaults}: places by lower-case name.
    @ivar is_unusable: whether C{defaults} has an error that may hide an access restriction; xinetd
        exits on it.
    """

    findings: Findings
    services: list[tuple[Entry, dict[str, Sources]]] = field(factory=list)
    defaults: dict[str, Attribute] = field(factory=dict)
    access: dict[str, Sources] = field(factory=dict)
    switches: dict[str, dict[str, Place]] = field(factory=dict)
    has_defaults: bool = False
    is_unusable: bool = False
    _count: int = 0

    def lines(self, path: str) -> list[str]:
        """Read the lines of a file; bytes that are not UTF-8 become surrogate escapes."""
        self._count += 1
        if self._count > MAX_FILES:
            raise ValueError(f"more than {MAX_FILES} files")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("not a regular file")
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
        if b"\0" in content:
            raise ValueError("not a text file")
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return [line.rstrip("\r") for line in text.split("\n")]

    def names(self, directory: str) -> list[str]:
        """List a directory, sorted as in the C locale."""
        return sorted(os.listdir(directory), key=os.fsencode)

    def read_file(self, path: str, lines: list[str], depth: int = 0) -> None:
        """Read the lines of a file that is included at a depth."""
        self.findings.files.append(path)
        has_defaults = False
        for entry in xinetd_syntax.entries(lines, path, self.findings):
            if entry.keyword in (xinetd_syntax.INCLUDE, xinetd_syntax.INCLUDEDIR):
                self._include(entry, depth)
            elif entry.keyword != xinetd_syntax.DEFAULTS:
                self.services.append((entry, dict(self.access)))
            elif has_defaults:
                # xinetd takes the first of a file.
                self.findings.note(entry.place, xinetd_syntax.DEFAULTS, is_loud=True)
            else:
                has_defaults = not entry.is_broken
                self._take_defaults(entry)

    def files_of(self, directory: str, place: Place) -> Iterator[tuple[str, list[str]]]:
        """Read files of a directory; not those with a dot or a trailing tilde, as xinetd does."""
        try:
            names = self.names(directory)
        except UNREADABLE as error:
            self._not_read(place, directory, error)
            return
        for name in names:
            path = os.path.join(directory, name)
            if "." in name or name.endswith("~"):
                self.findings.note(place, path, verb=NOT_READ)
            else:
                yield from self._file(path, place)

    def _file(self, path: str, place: Place) -> Iterator[tuple[str, list[str]]]:
        try:
            lines = self.lines(path)
        except UNREADABLE as error:
            self._not_read(place, path, error)
        else:
            yield path, lines

    def _not_read(self, place: Place, path: str, error: OSError | ValueError) -> None:
        text = f"{path}: {reason_of(error)}"
        self.findings.note(place, text, is_loud=True, verb=NOT_READ)

    def _include(self, entry: Entry, depth: int) -> None:
        # xinetd has no base directory; relative paths are resolved against the including file, for
        # configurations that were copied elsewhere.
        path = os.path.join(os.path.dirname(entry.place.file), entry.name)
        if depth >= MAX_DEPTH:
            error = ValueError(f"{MAX_DEPTH} files include each other")
            self._not_read(entry.place, path, error)
            return
        read = self.files_of if entry.keyword == xinetd_syntax.INCLUDEDIR else self._file
        for file, lines in read(path, entry.place):
            self.read_file(file, lines, depth + 1)

    def _take_defaults(self, entry: Entry) -> None:
        self.has_defaults = True
        self.is_unusable |= entry.is_broken
        for attribute in entry.attributes:
            name = SYNONYMS.get(attribute.name, attribute.name)
            if name in ACCESS:
                self._take_access(name, attribute)
            elif name in SWITCHES:
                ids = map(str.lower, attribute.values)
                self.switches.setdefault(name, {}).update(dict.fromkeys(ids, attribute.place))
            elif name in INHERITED and attribute.operator == "=" and name not in self.defaults:
                self.defaults[name] = attribute
            else:
                is_loud = attribute.name not in HARMLESS
                self.findings.note(attribute.place, f"defaults, {attribute}", is_loud)

    def _take_access(self, name: str, attribute: Attribute) -> None:
        try:
            self.access[name] = changed(self.access.get(name, ()), attribute, is_cumulative=True)
        except ValueError:
            self.findings.note(attribute.place, f"defaults, {attribute}", is_loud=True)
            self.is_unusable = True
