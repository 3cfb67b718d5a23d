"""Reads configurations of xinetd: includes, and the effect of C{defaults} on the services."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from socketd.cli.migrate.model import Findings, Place, Remark, shown
from socketd.cli.migrate.source_files import MAX_DEPTH, SourceFiles, UnreadableError
from socketd.cli.migrate.xinetd_addresses import Sources, changed
from socketd.cli.migrate.xinetd_attributes import KNOWN, KNOWN_IN_DEFAULTS, LOUD, why
from socketd.cli.migrate.xinetd_syntax import (
    DEFAULTS,
    INCLUDE,
    INCLUDEDIR,
    Attribute,
    Entry,
    entries,
)

#: The access lists.
ACCESS = ("only_from", "no_access")

#: The lists of service ids in C{defaults}.
SWITCHES = ("enabled", "disabled")

#: Attributes that a service inherits from C{defaults}, and that have a counterpart.
INHERITED = ("bind", "cps", "instances", "per_source", "v6only")

#: Other attributes that may be repeated; they have no counterpart.
CUMULATIVE = ("env", "log_on_failure", "log_on_success", "log_type", "passenv")

SYNONYMS = {"interface": "bind"}


@frozen
class Draft:
    """
    One C{service} entry, with the access lists that it inherits from the C{defaults} read so far.

    @ivar attributes: the attributes that may not be repeated, by name; the first counts.
    @ivar access: the access lists, by name.
    @ivar problems: the errors in addresses, with their places.
    @ivar others: the attributes that have no counterpart, or are ignored.
    """

    name: str
    place: Place
    is_broken: bool
    attributes: Mapping[str, Attribute]
    access: Mapping[str, Sources]
    problems: tuple[tuple[Place, str], ...]
    others: tuple[tuple[Attribute, str], ...]

    @property
    def label(self) -> str:
        """The id of the service, by default its name."""
        return shown(self.attributes["id"].values) if self.attributes.get("id") else self.name

    @property
    def id(self) -> str:
        """The label in lower case, for comparison."""
        return self.label.lower()


@define
class Reader:
    """
    Reads files and their includes.

    @ivar drafts: the services, in xinetd's reading order.
    @ivar defaults: the inherited attributes of C{defaults}, by name.
    @ivar access: the access lists of C{defaults}.
    @ivar switches: the service lists of C{defaults}: places by lower-case name.
    @ivar has_defaults: whether any file has C{defaults}.
    @ivar is_unusable: whether C{defaults} has an error that may hide an access restriction; xinetd
        exits on it.
    """

    files: SourceFiles
    findings: Findings
    drafts: list[Draft] = field(factory=list)
    defaults: dict[str, Attribute] = field(factory=dict)
    access: dict[str, Sources] = field(factory=dict)
    switches: dict[str, dict[str, Place]] = field(factory=dict)
    has_defaults: bool = False
    is_unusable: bool = False

    def read_file(self, path: str, lines: list[str], depth: int = 0) -> None:
        """
        Read a file.

        @param path: the file.
        @param lines: the lines of the file.
        @param depth: the include depth.
        """
        self.findings.files.append(path)
        has_defaults = False
        for entry in entries(lines, path, self.findings):
            if entry.keyword in (INCLUDE, INCLUDEDIR):
                self._include(entry, depth)
            elif entry.keyword != DEFAULTS:
                self._draft(entry)
            elif has_defaults:
                text = "defaults stands twice in this file; xinetd takes the first"
                self.findings.problem(entry.place, text)
            else:
                has_defaults = not entry.is_broken
                self._take_defaults(entry)

    def files_of(self, directory: str, place: Place) -> Iterator[tuple[str, list[str]]]:
        """
        Read the files of a directory, except names with a dot or a trailing tilde.

        @param place: the place that names the directory.
        @return: pairs of a path and the lines of the file.
        """
        try:
            names = self.files.names(directory)
        except UnreadableError as error:
            self.findings.problem(place, f"{shown([directory])} {error}")
            return
        for name in names:
            path = os.path.join(directory, name)
            if "." in name or name.endswith("~"):
                text = "is not read: xinetd leaves out names with a dot or with a ~ at the end"
                self.findings.remark(Place(path), text)
            else:
                yield from self._file(path, place)

    def _file(self, path: str, place: Place) -> Iterator[tuple[str, list[str]]]:
        try:
            lines = self.files.lines(path)
        except UnreadableError as error:
            self.findings.problem(place, f"{shown([path])} {error}")
        else:
            yield path, lines

    def _include(self, entry: Entry, depth: int) -> None:
        # xinetd has no base directory; relative paths are resolved against the including file, for
        # configurations that were copied elsewhere.
        path = os.path.join(os.path.dirname(entry.place.file), entry.name)
        if depth >= MAX_DEPTH:
            text = f"{entry.keyword} is too deep: {MAX_DEPTH} files that include each other"
            self.findings.problem(entry.place, text)
            return
        read = self.files_of if entry.keyword == INCLUDEDIR else self._file
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
                named = self.switches.setdefault(name, {})
                ids = map(str.lower, attribute.values)
                named.update(dict.fromkeys(ids, attribute.place))
            elif name in INHERITED and attribute.operator == "=" and name not in self.defaults:
                self.defaults[name] = attribute
            else:
                self._tell(name, attribute)

    def _tell(self, name: str, attribute: Attribute) -> None:
        text = why(name)
        if name in KNOWN and name not in KNOWN_IN_DEFAULTS:
            text = "belongs to a service; xinetd passes over it here"
        if name in INHERITED:
            is_first = name not in self.defaults
            text = "takes = only" if is_first else "stands twice; xinetd takes the first"
        text = f"defaults has {attribute}: {text}"
        is_loud = name in LOUD or name not in KNOWN_IN_DEFAULTS
        self.findings.remarks.append(Remark(attribute.place, text, is_loud))

    def _take_access(self, name: str, attribute: Attribute) -> None:
        try:
            self.access[name] = changed(self.access.get(name, ()), attribute, is_cumulative=True)
        except ValueError as error:
            self.findings.problem(attribute.place, f"defaults, {name}: {error}")
            self.is_unusable = True

    def _draft(self, entry: Entry) -> None:
        once: dict[str, Attribute] = {}
        access = dict(self.access)
        problems: list[tuple[Place, str]] = []
        others: list[tuple[Attribute, str]] = []
        for attribute in entry.attributes:
            name = SYNONYMS.get(attribute.name, attribute.name)
            if name in ACCESS:
                try:
                    access[name] = changed(access.get(name, ()), attribute, is_cumulative=False)
                except ValueError as error:
                    problems.append((attribute.place, f"{name}: {error}"))
            elif name in CUMULATIVE:
                others.append((attribute, ""))
            elif attribute.operator != "=":
                others.append((attribute, f"{name} takes = only; xinetd passes over this line"))
            elif name in once:
                others.append((attribute, "stands twice; xinetd takes the first"))
            else:
                once[name] = attribute
        draft = Draft(
            entry.name, entry.place, entry.is_broken, once, access, tuple(problems), tuple(others)
        )
        self.drafts.append(draft)
