"""Plain text tables, and human-readable formats for their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from socketd.common.text import columns, one_line

#: Two spaces, so that cells may have single spaces and a program can still split the
#: columns.
GAP = "  "

#: The unit of a cell with several items, which C{LIST_GAP} separates.
LIST = "list"
LIST_GAP = ", "

#: The header of the first column in a table that describes one object.
FIELD = "field"

#: Indentation of cells that are written below their row.
INDENT = "    "

#: Titles of columns that are not their names, which programs read.
_TITLES = {"does": "description", "listens": "listeners", "waits": "waiting"}

_MULTIPLES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def render(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """
    Format rows as a table with headers.

    @param right: the indexes of right-aligned columns.
    @return: the table; each line ends with a newline and has no trailing spaces.
    """
    lines = [headers, *rows]
    widths = [max(map(columns, column)) for column in zip(*lines)]
    return "".join(_line(line, widths, right) for line in lines)


def listing(
    names: list[str],
    rows: Sequence[Sequence[Any]],
    units: Mapping[str, str],
    width: int | None = None,
) -> str:
    """
    Format rows of values as a human-readable table; their texts are escaped.

    Where the lines are too wide, columns move below their rows: lists first, then the widest
    text.

    @param names: one per column.
    @param units: C{bytes}, C{seconds} or L{LIST}, by the name of the column, or by that of
        the row if the first column is L{FIELD}.
    @param width: the width of the terminal (columns); C{None}: unlimited.
    """

    def weight(name: str) -> tuple[bool, int]:
        return units.get(name) == LIST, max((columns(row[name]) for row in cells), default=0)

    cells = [_cells(names, row, units) for row in rows]
    # The first column identifies the row, even if by a number, so it is not right-aligned.
    rest = [] if names[:1] == [FIELD] else list(zip(names, zip(*rows)))[1:]
    numbers = {name for name, column in rest if _are_numbers(column)}
    beside = list(names)
    while True:
        right = [place for place, name in enumerate(beside) if name in numbers]
        shown = [[row[name] for name in beside] for row in cells]
        text = render(list(map(_title, beside)), shown, right)
        movable = [name for name in beside[1:] if name not in numbers]
        if width is None or not movable or max(map(columns, text.split("\n"))) <= width:
            break
        beside.remove(max(movable, key=weight))
    head, *lines = text.splitlines()
    for line, row in zip(lines, cells):
        head += f"\n{line}"
        for name in names:
            if name not in beside:
                items = row[name].split(LIST_GAP) if units.get(name) == LIST else [row[name]]
                head += "".join(f"\n{INDENT}{item}" for item in items if item)
    return head + "\n"


def _cells(names: list[str], row: Sequence[Any], units: Mapping[str, str]) -> dict[str, str]:
    """Format the values of a row."""
    if names[:1] == [FIELD]:
        name = str(row[0]).lower()
        return dict(zip(names, (_title(name), _cell(row[1], units.get(name)))))
    return {name: _cell(value, units.get(name)) for name, value in zip(names, row)}


def _title(name: str) -> str:
    return one_line(_TITLES.get(name, name).upper())


def _cell(value: Any, unit: str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "bytes" and isinstance(value, int):
        return size(value)
    if unit == "seconds" and isinstance(value, int | float):
        return duration(value)
    return one_line(str(value))


def size(count: int) -> str:
    """Format a number of bytes with a binary unit and one decimal."""
    if count < 1024:
        return f"{count} B"
    number, power = count / 1024, 0
    while number >= 1023.95 and power < len(_MULTIPLES) - 1:
        number, power = number / 1024, power + 1
    return f"{number:.1f} {_MULTIPLES[power]}"


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
        blank = " " * (width - columns(cell))
        padded.append(blank + cell if place in right else cell + blank)
    return GAP.join(padded).rstrip() + "\n"
