"""What is in the body of a request: JSON, or a form with its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from socketd.common.text import decoded

#: The most fields of a query or a form, as in Python's C{cgi}; more is not parsed.
MAX_FIELDS = 1000

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"

_BOUNDARY = re.compile(r'boundary="?([^";\s]{1,70})')
_NAME = re.compile(rb'(?i)\bname="([^"]*)"')
_FILE = re.compile(rb'(?i)\bfilename="([^"]*)"')
_TYPE = re.compile(rb"(?im)^content-type:[ \t]*([^\r\n]*)")

Fields = dict[str, list[Any]]


def parse_fields(text: str) -> Fields | None:
    """Parse a query or an urlencoded form; C{None} if it has too many fields."""
    try:
        return _collected(parse_qsl(text, True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return None


def parse_body(body: bytes, content_type: str) -> tuple[Fields | None, Fields | None, Any]:
    """
    Parse a body.

    @return: the fields of a form, its files, and the value of a JSON text; C{None} for what it
        is not.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _MULTIPART:
        return *_multipart(body, content_type), None
    form = parse_fields(body.decode("utf-8", "replace")) if media_type == _FORM else None
    return form, None, _json(body)


def _json(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_refuse)
        # Python reads 1e999 as infinity, which JSON does not have.
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _multipart(body: bytes, content_type: str) -> tuple[Fields | None, Fields | None]:
    """Parse C{multipart/form-data} (RFC 7578)."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None, None
    boundary = b"\r\n--" + found[1].encode("utf-8", "replace")
    _, *parts = (b"\r\n" + body).split(boundary, MAX_FIELDS + 1)
    if not parts or not parts.pop().startswith(b"--"):
        return None, None
    form: list[tuple[str, Any]] = []
    files: list[tuple[str, Any]] = []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        name, file = _first(_NAME, head) or "", _first(_FILE, head)
        if file is None:
            form.append((name, decoded(content)))
        else:
            facts = {"filename": file, "type": _first(_TYPE, head), "size": len(content)}
            files.append((name, facts))
    return _collected(form), _collected(files)


def _first(pattern: re.Pattern[bytes], head: bytes) -> str | None:
    found = pattern.search(head)
    return None if found is None else decoded(found[1])


def _collected(pairs: Iterable[tuple[str, Any]]) -> Fields:
    collected: Fields = {}
    for name, value in pairs:
        collected.setdefault(name, []).append(value)
    return collected
