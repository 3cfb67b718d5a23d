"""
Where L{socketd.settings.value_types} was: protocols of other packages may still import it.
"""

from __future__ import annotations

from socketd.settings.value_types import (
    DURATION,
    LIST,
    NUMBER,
    RATE,
    SIZE,
    TEXT,
    WORD,
    YES_NO,
    Kind,
    choice,
    within,
)

__all__ = [
    "DURATION",
    "Kind",
    "LIST",
    "NUMBER",
    "RATE",
    "SIZE",
    "TEXT",
    "WORD",
    "YES_NO",
    "choice",
    "within",
]
