"""
Plain text tables, with columns as wide as their widest cell and two spaces between them,
and human-readable formats for their values.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from socketd.common.text import one_line

#: Two spaces, so that cells may have single spaces and a program can still split the
#: columns.
GAP = "  "

#: The unit of a cell with several items, which C{LIST_GAP} separates.
LIST = "list"
LIST_GAP = ", "

#: The header of the first column in a table that describes one object.
FIELD = "field"

#: Indentation of cells that are written below their row.
INDENT = 4

#: Titles of columns that are not their names, which programs read.
_TITLES = {"does": "description", "listens": "listeners", "waits": "waiting"}

_MULTIPLES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def render(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """
    Format rows as a table with headers.

    @param headers: one title per column.
    @param rows: the cells, as many in each row as there are headers.
    @param right: the indexes of right-aligned columns.
    @return: the table; each line ends with a newline and has no trailing spaces.
    @raise ValueError: if the number of cells in a row differs from that of the headers.
    """
    lines = [headers, *rows]
    for line in lines:
        if len(line) != len(headers):
            raise ValueError(f"a row of {len(line)} cells under {len(headers)} headers: {line!r}")
    widths = [max(map(_width, column)) for column in zip(*lines)]
    return "".join(_line(line, widths, right) for line in lines)


def listing(
    names: list[str],
    rows: Sequence[Sequence[Any]],
    units: Mapping[str, str],
    width: int | None = None,
) -> str:
    """
    Format rows of values as a human-readable table; their texts are escaped.

    @param names: one per column.
    @param rows: the values.
    @param units: C{bytes}, C{seconds} or L{LIST}, by the name of the column, or by that of
        the row if the first column is L{FIELD}.
    @param width: the width of the terminal (columns); C{None}: unlimited.
    @return: the lines of the table, as one text.
    """
    is_one_thing = names[:1] == [FIELD]

    def text(row: Sequence[Any], name: str, value: Any) -> str:
        key = str(row[0]).lower() if is_one_thing else name
        if is_one_thing and name == FIELD:
            return title_of(key)
        return one_line(written(value, units.get(key, "")))

    # The first column identifies the row, even if by a number, so it is not right-aligned.
    columns = list(zip(names, zip(*rows)))[1:]
    numbers = {name for name, column in columns if _are_numbers(column) and not is_one_thing}
    cells = [
        {name: text(row, name, value) for name, value in zip(names, row)} for row in rows
    ]
    return _Listing(names, cells, numbers, units, width).render()


@frozen
class _Listing:
    """
    Formatted cells, and the layout that fits them into the terminal.

    @ivar names: the names of all columns.
    @ivar cells: for each row, its cells by column name.
    @ivar numbers: the names of the columns with numbers.
    """

    names: list[str]
    cells: list[dict[str, str]]
    numbers: set[str]
    units: Mapping[str, str]
    width: int | None

    def render(self) -> str:
        """Move columns below their rows until the lines fit: lists first, then the widest text."""
        below: list[str] = []
        while True:
            beside = [name for name in self.names if name not in below]
            text = self._table(beside)
            if self.width is None or max(map(_width, text.split("\n"))) <= self.width:
                break
            rest = [name for name in beside[1:] if name not in self.numbers]
            if not rest:
                break
            below.append(max(rest, key=self._weight))
        if not below:
            return text
        head, *lines = text.splitlines()
        rows = (self._with_below(line, row, below) for line, row in zip(lines, self.cells))
        return "".join((f"{head}\n", *rows))

    def _table(self, names: list[str]) -> str:
        right = [place for place, name in enumerate(names) if name in self.numbers]
        rows = [[row[name] for name in names] for row in self.cells]
        return render(list(map(title_of, names)), rows, right)

    def _weight(self, name: str) -> tuple[bool, int]:
        widest = max((_width(row[name]) for row in self.cells), default=0)
        return self.units.get(name) == LIST, widest

    def _with_below(self, line: str, row: Mapping[str, str], below: list[str]) -> str:
        lines = [line]
        for name in self.names:
            if name in below:
                found = [row[name]]
                if self.units.get(name) == LIST:
                    found = row[name].split(LIST_GAP)
                lines += [" " * INDENT + one for one in found if one]
        return "".join(f"{one}\n" for one in lines)


def title_of(name: str) -> str:
    """Return the title of a column."""
    return one_line(_TITLES.get(name, name).upper())


def written(value: Any, unit: str = "") -> str:
    """
    Format a value for people.

    @param value: text, a number, a boolean or C{None}.
    @param unit: as in L{listing}.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "bytes" and isinstance(value, int):
        return size(value)
    if unit == "seconds" and isinstance(value, int | float):
        return duration(value)
    return str(value)


def size(count: int) -> str:
    """Format a number of bytes with a binary unit and one decimal."""
    if count < 1024:
        return f"{count} B"
    number = float(count)
    for unit in _MULTIPLES:
        number /= 1024
        if number < 1023.95 or unit == _MULTIPLES[-1]:
            break
    return f"{number:.1f} {unit}"


def duration(seconds: float) -> str:
    """Format a duration with its two largest units."""
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h"
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{rest}s"


def _are_numbers(column: Sequence[Any]) -> bool:
    found = [value for value in column if value is not None]
    return bool(found) and all(type(value) in (int, float) for value in found)


def _line(cells: Sequence[str], widths: Sequence[int], right: Collection[int]) -> str:
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths)):
        blank = " " * (width - _width(cell))
        padded.append(blank + cell if place in right else cell + blank)
    return GAP.join(padded).rstrip() + "\n"


def _width(text: str) -> int:
    """
    Return the width of a text on a terminal (columns).

    @return: the sum of 2 for each wide East Asian character, 0 for each combining one, and
        1 for each other.
    """
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
