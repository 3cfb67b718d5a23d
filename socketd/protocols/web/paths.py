"""The paths of C{http} that httpbin has made known: each asks for an answer of some kind."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any
from urllib.parse import unquote

from attrs import frozen

from socketd.protocols.web.answers import (
    BYTES,
    NO_BODY,
    PIECE,
    TEXT,
    Answer,
    BadRequest,
    in_pieces,
    json_text,
    phrase,
)
from socketd.protocols.web.asked import Asked, describe_head, host_of
from socketd.protocols.web.options import HttpOptions

#: The most lines of C{/stream}: ten times httpbin's.
MAX_LINES = 1000

#: The most redirections in a row: curl follows 50, browsers 20.
MAX_REDIRECTS = 50

#: Seconds between two pieces of C{/drip} at least; more bytes make longer pieces.
MIN_PAUSE = 0.02

#: The statuses that redirect; a client expects a place.
_REDIRECTS = (301, 302, 303, 307, 308)

#: What an answer needs beside its status (RFC 9110, 11.6.1 and 11.7.1).
_CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_BASIC = 'Basic realm="socketd"'

#: Tells the facts about the connection.
Facts = Callable[[], Mapping[str, Any]]

_CHANCE = Random()
_ALPHABET = bytes(range(ord("a"), ord("z") + 1))
_RANGE = re.compile(r"bytes=(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))", re.ASCII)
_STATUS = re.compile(r"([2-5]\d\d)(?::(\d{1,6}(?:\.\d{1,6})?))?", re.ASCII)


@frozen
class Call:
    """A request of one of the paths, with the parts of the path that its pattern takes."""

    asked: Asked
    facts: Facts
    options: HttpOptions
    parts: tuple[str, ...]

    def argument(self, name: str, default: str) -> str:
        """Look a field of the query up."""
        return str((self.asked.query or {}).get(name, [default])[0])

    def number(self, text: str, limit: float, what: str) -> float:
        """
        Parse a number that is not negative.

        @raise BadRequest: if it is none, or is above the limit.
        """
        if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text, re.ASCII) is None:
            raise BadRequest(400, "argument", f"{text[:40]!a} is no number of {what}")
        if float(text) > limit:
            raise BadRequest(400, "argument", f"{text} {what} are too many; up to {limit:.15g}")
        return float(text)

    def count(self, text: str, limit: int, what: str) -> int:
        """Parse a number of things; raise C{BadRequest} if it is none, or is above the limit."""
        number = self.number(text, limit, what)
        if "." in text:
            raise BadRequest(400, "argument", f"{text} {what} are no whole number")
        return int(number)

    def size(self) -> int:
        """Parse the first part as a number of bytes."""
        return self.count(self.parts[0], self.options.max_bytes, "bytes")

    def random(self) -> Random:
        """Make the source of chance, the same for the same C{seed} of the query."""
        seed = self.argument("seed", "")
        return Random(seed) if seed else _CHANCE


def _status(call: Call) -> Answer:
    """Answer a status; of several, C{200:3,500:1} for example, draw one by weight."""
    choices = [_STATUS.fullmatch(one.strip()) for one in unquote(call.parts[0]).split(",")]
    found = [one for one in choices if one is not None]
    weights = [float(one[2] or 1) for one in found]
    if len(found) < len(choices) or not sum(weights):
        raise BadRequest(400, "argument", "write /status/200 to 599, or /status/200:3,500:1")
    return status_answer(int(call.random().choices(found, weights)[0][1]))


def status_answer(status: int) -> Answer:
    """Make the answer of a status, with the headers that clients expect beside it."""
    headers: tuple[tuple[str, str], ...] = ()
    if status in _REDIRECTS:
        headers = (("Location", "/redirect/1"),)
    elif status in _CHALLENGES:
        headers = ((_CHALLENGES[status], _BASIC),)
    body = b"" if status in NO_BODY else f"{status} {phrase(status)}\n".encode()
    return Answer(status, body, TEXT, headers)


def _delay(call: Call) -> Answer:
    delay = call.number(call.parts[0], call.options.max_delay, "seconds")
    return Answer(body=None, delay=delay)


def _bytes(call: Call) -> Answer:
    """Answer random bytes; the same ones for the same C{seed}."""
    count, random = call.size(), call.random()
    pieces = (random.randbytes(min(PIECE, count - start)) for start in range(0, count, PIECE))
    return in_pieces(pieces, count)


def _drip(call: Call) -> Answer:
    """Answer C{numbytes} bytes spread over C{duration}, after C{delay}, with status C{code}."""
    max_delay = call.options.max_delay
    count = call.count(call.argument("numbytes", "10"), call.options.max_bytes, "bytes")
    duration = call.number(call.argument("duration", "2"), max_delay, "seconds")
    delay = call.number(call.argument("delay", "0"), max_delay, "seconds")
    code = _STATUS.fullmatch(call.argument("code", "200"))
    if code is None or int(code[1]) in NO_BODY:
        raise BadRequest(400, "argument", "write code=200 to 599, of an answer with a body")
    pause = max(duration / max(count, 1), MIN_PAUSE if duration else 0.0)
    size = -(-count // max(1, int(duration / pause))) if pause else PIECE
    pieces = (b"*" * min(size, count - start) for start in range(0, count, size or 1))
    return Answer(int(code[1]), b"", BYTES, (), pieces, count, pause, delay)


def _stream(call: Call) -> Answer:
    count = call.count(call.parts[0], MAX_LINES, "lines")
    rest = json.dumps({**describe_head(call.asked), **call.facts()})[1:].encode()
    return Answer(pieces=(b'{"id": %d, %b\n' % (i, rest) for i in range(count)))


def _headers(call: Call) -> Answer:
    found: dict[str, str] = {}
    for name, value in call.asked.headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return Answer(body=json_text({"headers": found}))


def _ip(call: Call) -> Answer:
    """Answer the client's address, as the connection or its PROXY header has it."""
    origin = host_of(call.facts()["peer"])
    if call.asked.wants_text:
        return Answer(body=f"{origin}\n".encode(), media_type=TEXT)
    return Answer(body=json_text({"origin": origin}))


def _redirect(call: Call) -> Answer:
    left = call.count(call.parts[0], MAX_REDIRECTS, "redirections")
    place = f"/redirect/{left - 1}" if left > 1 else "/anything"
    return Answer(302, f"{place}\n".encode(), TEXT, (("Location", place),))


def _etag(call: Call) -> Answer:
    """Answer as for a page with this tag (RFC 9110, 13.1)."""
    tag = f'"{call.parts[0]}"'
    given, wanted = (call.asked.header(name) for name in ("if-none-match", "if-match"))
    headers = (("ETag", tag),)
    if given and _matches(tag, given):
        return Answer(304, headers=headers)
    if wanted and not _matches(tag, wanted):
        return Answer(412, b"412 Precondition Failed\n", TEXT, headers)
    return Answer(body=None, headers=headers)


def _matches(tag: str, field: str) -> bool:
    tags = (one.strip().removeprefix("W/") for one in field.split(","))
    return field.strip() == "*" or tag in tags


def _cache(call: Call) -> Answer:
    return Answer(body=None, headers=(("Cache-Control", f"public, max-age={call.parts[0]}"),))


def _gzip(call: Call) -> Answer:
    told = {"gzipped": True, **describe_head(call.asked), **call.facts()}
    body = gzip.compress(json_text(told), mtime=0)
    return Answer(body=body, headers=(("Content-Encoding", "gzip"),))


def _range(call: Call) -> Answer:
    """Answer letters in alphabetical order, or the range of them that is asked for."""
    count = call.size()
    headers = [("Accept-Ranges", "bytes"), ("ETag", f'"range{count}"')]
    asked = _RANGE.fullmatch(call.asked.header("range").strip())
    bounds = (0, count) if asked is None else _bounds(asked, count)
    if bounds is None:
        headers.append(("Content-Range", f"bytes */{count}"))
        return Answer(416, b"416 Range Not Satisfiable\n", TEXT, tuple(headers))
    start, end = bounds
    if asked is not None:
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{count}"))
    status, length = (200 if asked is None else 206), end - start
    return in_pieces(_letters(start, end), length, status, *headers)


def _bounds(asked: re.Match[str], count: int) -> tuple[int, int] | None:
    """Find where a range begins and ends; C{None} if it cannot be satisfied."""
    if asked[3]:
        start, end = max(0, count - int(asked[3])), count
    else:
        start = int(asked[1])
        end = min(count, int(asked[2]) + 1) if asked[2] else count
    return (start, end) if start < end else None


def _letters(start: int, end: int) -> Iterator[bytes]:
    block = _ALPHABET * (PIECE // len(_ALPHABET) + 2)
    for at in range(start, end, PIECE):
        first = at % len(_ALPHABET)
        yield block[first : first + min(PIECE, end - at)]


def _basic_auth(call: Call) -> Answer:
    """Answer 200 to this user and password, 401 to others (RFC 7617)."""
    user, password = map(unquote, call.parts)
    scheme, _, given = call.asked.header("authorization").partition(" ")
    try:
        known = b64decode(given, validate=True) == f"{user}:{password}".encode()
    except ValueError:
        known = False
    if scheme.lower() != "basic" or not known:
        return status_answer(401)
    return Answer(body=json_text({"authenticated": True, "user": user}))


@frozen
class Path:
    """
    A path with a meaning.

    @ivar pattern: what follows its name.
    @ivar usage: how it is written, for one that is written otherwise.
    """

    pattern: str
    usage: str
    answer: Callable[[Call], Answer]


#: By their first part.
PATHS = {
    "status": Path("([^/]+)", "/status/418", _status),
    "delay": Path("([^/]+)", "/delay/2", _delay),
    "bytes": Path("([^/]+)", "/bytes/1024?seed=1", _bytes),
    "drip": Path("", "/drip?numbytes=10&duration=2&delay=0&code=200", _drip),
    "stream": Path("([^/]+)", "/stream/20", _stream),
    "headers": Path("", "/headers", _headers),
    "ip": Path("", "/ip", _ip),
    "redirect": Path("([^/]+)", "/redirect/3", _redirect),
    "etag": Path(r"([!#-.0-~]{1,128})", "/etag/TAG", _etag),
    "cache": Path(r"(\d{1,9})", "/cache/60", _cache),
    "gzip": Path("", "/gzip", _gzip),
    "range": Path("([^/]+)", "/range/1024", _range),
    "basic-auth": Path("([^/]+)/([^/]+)", "/basic-auth/USER/PASSWORD", _basic_auth),
}


def find_answer(asked: Asked, facts: Facts, options: HttpOptions) -> Answer | None:
    """
    Find the answer of a path that has a meaning.

    @return: the answer; C{None}: the path has no meaning.
    @raise BadRequest: if the path is not written as it should be, or asks for too much.
    """
    name, _, rest = asked.path[1:].partition("/")
    path = PATHS.get(name)
    if path is None:
        return None
    found = re.fullmatch(path.pattern, rest, re.ASCII)
    if found is None:
        raise BadRequest(404, "path", f"write {path.usage}")
    return path.answer(Call(asked, facts, options, found.groups()))
