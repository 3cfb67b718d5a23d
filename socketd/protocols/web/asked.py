"""A request of C{http} as a value, and what is told of it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

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


#: The headers in which proxies claim to say who the client is. Any client can write them.
CLAIMS = ("forwarded", "x-forwarded-", "x-real-ip", "x-client-ip", "true-client-ip")

_QUALITY = re.compile(r";\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)")


# Not in slots, so that properties can be cached.
@frozen(slots=False)
class Asked:
    """
    A request, whole.

    @ivar target: the request target, as sent.
    @ivar lines: the headers as sent, each on a line.
    @ivar number: its number on the connection, from 1.
    """

    method: str
    target: str
    version: str = "HTTP/1.1"
    lines: tuple[bytes, ...] = ()
    body: bytes = b""
    number: int = 1

    @property
    def path(self) -> str:
        """The path, as sent; the target may be a whole URL (RFC 9112, 3.2.2)."""
        path = self.target.partition("?")[0]
        if "://" in path and not path.startswith("/"):
            return "/" + path.partition("://")[2].partition("/")[2]
        return path

    @cached_property
    def query(self) -> Fields | None:
        """The fields of the query; C{None} if there are too many."""
        return parse_fields(self.target.partition("?")[2])

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """The headers in their order and with their case."""
        split = (line.partition(b":") for line in self.lines)
        return [(decoded(name), decoded(value.strip(b" \t"))) for name, _, value in split]

    def header(self, name: str) -> str:
        """Look a header up by its name in lower case; several are joined, none is empty."""
        return ", ".join(value for found, value in self.headers if found.lower() == name)

    @property
    def wants_text(self) -> bool:
        """Whether the client prefers C{text/plain} to JSON (RFC 9110, 12.5.1)."""
        accepted = self.header("accept").lower()
        if "text/plain" not in accepted:
            return False
        return _quality(accepted, "text/plain") > _quality(accepted, "application/json")

    @property
    def wants_websocket(self) -> bool:
        """Whether the client wants to go on with WebSocket (RFC 6455, 4.2.1)."""
        if not any(line[:8].lower() == b"upgrade:" for line in self.lines):
            return False
        tokens = [token.strip() for token in self.header("connection").lower().split(",")]
        is_named = self.header("upgrade").lower() == "websocket"
        return is_named and "upgrade" in tokens and self.version != "HTTP/1.0"


def describe(asked: Asked, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Tell all of a request; C{facts}: those of L{socketd.protocols.facts.connection_facts}."""
    form, files, value = parse_body(asked.body, asked.header("content-type"))
    text = _utf8(asked.body)
    return {
        **describe_head(asked),
        "body": text,
        "body_base64": b64encode(asked.body).decode() if text is None else None,
        "form": form,
        "files": files,
        "json": value,
        "forwarded": _claims(asked),
        **facts,
        "request": asked.number,
    }


def describe_head(asked: Asked) -> dict[str, Any]:
    """Tell what stands before the body."""
    return {
        "method": asked.method,
        "path": asked.path,
        "query": asked.query,
        "version": asked.version,
        "headers": asked.headers,
    }


def as_text(asked: Asked, facts: Mapping[str, Any]) -> bytes:
    """Write the facts as lines, and after an empty line the request as it came."""
    told = {**facts, "request": asked.number}
    lines = [f"{name}: {_shown(value)}" for name, value in told.items() if value is not None]
    head = f"{asked.method} {asked.target} {asked.version}\n".encode()
    headers = b"".join(line + b"\n" for line in asked.lines)
    body = b"\n" + asked.body if asked.body else b""
    return "\n".join(lines).encode() + b"\n\n" + head + headers + body


def host_of(address: Mapping[str, Any]) -> str:
    """Return the host or the path of an address among the facts."""
    return str(address.get("address", address.get("path")) or "")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        if "port" in value:
            return f"{value['address']} {value['port']}"
        return ", ".join(f"{name} {one}" for name, one in value.items() if one)
    return str(value)


def _claims(asked: Asked) -> dict[str, Any] | None:
    """Collect what headers claim of the client; nothing here relies on it."""
    found = _collected(pair for pair in asked.headers if pair[0].lower().startswith(CLAIMS))
    return {"believed": False, **found} if found else None


def _quality(accepted: str, media_type: str) -> float:
    """Find the weight of a media type that is named, 0 if it is not."""
    for item in accepted.split(","):
        if item.partition(";")[0].strip() == media_type:
            weight = _QUALITY.search(item)
            return float(weight[1]) if weight else 1.0
    return 0.0


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
