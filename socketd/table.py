"""
Plain text tables: columns as wide as their widest cell, two spaces between them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

#: Two spaces, so that a cell may hold single ones and a table can still be cut
#: into its columns.
GAP = "  "


def render(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    Align rows under their headers.

    @param headers: one title per column.
    @param rows: the cells, as many in each row as there are headers.
    @return: the table, every line of it ended by a newline and without trailing spaces.
    @raise ValueError: when a row has another number of cells than there are headers.
    """
    lines = [headers, *rows]
    for line in lines:
        if len(line) != len(headers):
            raise ValueError(f"a row of {len(line)} cells under {len(headers)} headers: {line!r}")
    widths = [max(map(_width, column)) for column in zip(*lines)]
    return "".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths))
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
