"""The former name of L{socketd.settings.value_types}, kept for protocols of other packages."""

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
