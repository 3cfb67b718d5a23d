"""
Plain text tables: columns as wide as their widest cell, two spaces between them; and what
stands in them, written for people.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

#: Two spaces, so that a cell may hold single ones and a table can still be cut
#: into its columns.
GAP = "  "


#: The unit of a cell that has several things in it, with C{LIST_GAP} between them.
LIST = "list"
LIST_GAP = ", "

#: The first column of a table of one thing.
FIELD = "field"

#: What stands below its row begins so far to the right.
INDENT = 4

_MULTIPLES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def render(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """
    Align rows under their headers.

    @param headers: one title per column.
    @param rows: the cells, as many in each row as there are headers.
    @param right: the columns that are aligned at their right.
    @return: the table, every line of it ended by a newline and without trailing spaces.
    @raise ValueError: when a row has another number of cells than there are headers.
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
    clean: Callable[[str], str] = str,
) -> str:
    """
    Write rows of values for people.

    @param names: one per column.
    @param rows: the values.
    @param units: C{bytes}, C{seconds} or L{LIST}, by the name of a column; or by that of a row
        where the first column is L{FIELD}, and names what the second one holds.
    @param width: the columns of the terminal; C{None}: no line is too long.
    @param clean: makes text fit for a terminal.
    @return: lines.
    """

    is_one_thing = names[:1] == [FIELD]

    def text(row: Sequence[Any], name: str, value: Any) -> str:
        unit = units.get(str(row[0]).lower() if is_one_thing else name, "")
        return clean(written(value, unit))

    # The first column says what the row is of, be it by a number.
    columns = list(zip(names, zip(*rows)))[1:]
    numbers = {name for name, column in columns if _are_numbers(column) and not is_one_thing}
    cells = [
        {name: text(row, name, value) for name, value in zip(names, row)} for row in rows
    ]
    return _Listing(names, cells, numbers, units, width).render()


@frozen
class _Listing:
    """
    Rows of cells, and which columns are numbers.

    @ivar names: of all columns.
    @ivar cells: by name, for each row.
    """

    names: list[str]
    cells: list[dict[str, str]]
    numbers: set[str]
    units: Mapping[str, str]
    width: int | None

    def render(self) -> str:
        """
        Put columns below their rows until a line is short enough: lists first, then the
        widest text.
        """
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
        return render([name.upper() for name in names], rows, right)

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


def written(value: Any, unit: str = "") -> str:
    """
    Write a value for people.

    @param value: text, a number, a truth or nothing.
    @param unit: see L{listing}.
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
    """
    Write a number of bytes, with a digit behind the point.
    """
    if count < 1024:
        return f"{count} B"
    number = float(count)
    for unit in _MULTIPLES:
        number /= 1024
        if number < 1023.95 or unit == _MULTIPLES[-1]:
            break
    return f"{number:.1f} {unit}"


def duration(seconds: float) -> str:
    """
    Write a time: its two greatest units.
    """
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
    The columns that a text takes on a terminal.

    @param text: a cell.
    @return: two for a wide East Asian character, none for a combining one, else one each.
    """
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
