"""
The status page: its files, its stream, its history, and the commands that it sends.

A command is a JSON object as at the control socket, posted to C{/command}; what it changes is
logged with the operator's address.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from importlib import resources
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.web import http
from zope.interface import implementer

from socketd.common.answers import Answer
from socketd.common.errors import CommandError
from socketd.common.host_names import bracketed
from socketd.control.commands import respond
from socketd.control.requests import IOperatorSession, parse_request
from socketd.control.results import error_answer
from socketd.control.session import describe_peer
from socketd.daemon.daemon import Daemon
from socketd.net.own_listener import OwnListener
from socketd.web.guard import TOKEN, PageGuard
from socketd.web.history import LENGTH
from socketd.web.live import MAX_VIEWERS, MEDIA_TYPE, Live
from socketd.web.metrics import own_version
from socketd.web.server import Headers, Page, PageRequest, Route, Routes, plain

#: How long the answer to a command that only asks is used again (seconds), and how many are kept:
#: eight viewers cost as much as one.
FRESH = 1.0
MAX_ANSWERS = 32

#: Bytes of the token.
TOKEN_SIZE = 24

#: The header with the name by which operators know each other.
NAME = b"X-Socketd-Name"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
_JSON = b"application/json"

#: No script or style but the page's own files, no request elsewhere, in no frame; and no text
#: becomes HTML (Trusted Types).
_HEADERS: Headers = (
    (
        b"Content-Security-Policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        b" require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
)

_FILES = {
    b"/": ("index.html", b"text/html; charset=utf-8"),
    b"/page.css": ("page.css", b"text/css; charset=utf-8"),
    b"/page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"/icon.svg": ("icon.svg", b"image/svg+xml"),
}


@implementer(IOperatorSession)
class PageOperator:
    """One operator at the page; what a session shows by itself, the page has in its stream."""

    def __init__(self, who: str) -> None:
        self.who = who

    def watch(self, service: str | None = None) -> None:
        raise _not_here()

    attend = leave = watch


class StatusPage:
    """The routes of the page, and the token that changes take."""

    def __init__(self, daemon: Daemon, live: Live, is_local: bool) -> None:
        """@param is_local: whether only this machine reaches it, so that reading is free."""
        self.token = secrets.token_urlsafe(TOKEN_SIZE)
        self._daemon = daemon
        self._live = live
        names = daemon.settings.daemon.http_names
        self._guard = PageGuard(self.token.encode(), names, reads_freely=is_local)
        self._answers: dict[str, tuple[float, Page]] = {}

    @property
    def routes(self) -> Routes:
        """What is served, by path."""
        files = resources.files("socketd.web") / "files"
        found = {
            path: Route(self._file((files / name).read_bytes(), media_type))
            for path, (name, media_type) in _FILES.items()
        }
        return found | {
            b"/events": Route(self._stream, (b"GET",)),
            b"/history": Route(self._history),
            b"/command": Route(self._command, (b"POST",)),
        }

    def url(self, own: OwnListener) -> str:
        """Write the URL with the token, which the browser keeps to itself."""
        fragment = f"/#token={self.token}"
        if own.bound is None or own.listener.path:
            return f"http://localhost{fragment} at {own.listener}"
        host, port = own.bound.sock.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{bracketed(host)}:{port}{fragment}"

    def _file(self, body: bytes, media_type: bytes) -> Callable[[PageRequest], Page]:
        page = Page(http.OK, body, media_type, _HEADERS)

        def answer(request: PageRequest) -> Page:
            return page if self._guard.knows_host(request.requestHeaders) else _WRONG_HOST

        return answer

    def _refusal(self, request: PageRequest) -> Page | None:
        """Refuse what may not read."""
        headers = request.requestHeaders
        if not self._guard.knows_host(headers):
            return _WRONG_HOST
        if not self._guard.is_own(headers):
            return plain(http.FORBIDDEN, "only the page's own requests are answered")
        return None if self._guard.may_read(headers) else _NO_TOKEN

    def _stream(self, request: PageRequest) -> Page | None:
        if refusal := self._refusal(request):
            return refusal
        if self._live.is_full:
            text = f"there are {MAX_VIEWERS} viewers already"
            return plain(http.SERVICE_UNAVAILABLE, text)
        may_change = self._guard.may_change(request.requestHeaders)
        attends = may_change and _argument(request, b"attend") == "1"
        shown = _argument(request, b"show")
        who = _who(request)
        request.begin_stream(MEDIA_TYPE, _HEADERS)
        hello = {"version": own_version(), "length": LENGTH, "who": who, "may_change": may_change}
        hello["services"] = [service.name for service in self._daemon.services]
        number = int(shown) if shown.isascii() and shown.isdigit() and len(shown) < 19 else 0
        self._live.open(request, who if attends else "", number, hello)
        return None

    def _history(self, request: PageRequest) -> Page:
        if refusal := self._refusal(request):
            return refusal
        return _json(self._live.history.read(_argument(request, b"service")))

    def _command(self, request: PageRequest) -> Page | Deferred[Page]:
        if refusal := self._refusal(request):
            return refusal
        if request.requestHeaders.getRawHeaders(b"content-type") != [_JSON]:
            return plain(http.UNSUPPORTED_MEDIA_TYPE)
        line = request.content.getvalue().decode("utf-8", "surrogateescape")
        try:
            changes = _checked(line)
        except CommandError as problem:
            return _json(error_answer(problem))
        if not changes:
            return self._asked(line, request)
        if not self._guard.may_change(request.requestHeaders):
            return _NO_TOKEN
        self._answers.clear()
        answer = respond(self._daemon, line, PageOperator(_who(request)))
        return answer.addCallback(_json)

    def _asked(self, line: str, request: PageRequest) -> Deferred[Page]:
        """Answer a command that changes nothing, again if that is what it said just now."""
        now = self._daemon.reactor.seconds()
        known = self._answers.get(line)
        if known is not None and now - known[0] < FRESH:
            return succeed(known[1])

        def keep(answer: Answer) -> Page:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[line] = now, _json(answer)
            return self._answers[line][1]

        return respond(self._daemon, line, PageOperator(_who(request))).addCallback(keep)


def _checked(line: str) -> bool:
    """Tell whether a command changes something; L{CommandError} if the page may not send it."""
    if not line.startswith("{"):
        raise CommandError("write a JSON object")
    command = parse_request(line).command
    if not command.on_page:
        raise _not_here()
    return command.changes


def _not_here() -> CommandError:
    return CommandError("is no command of the page; use the control socket")


def _who(request: PageRequest) -> str:
    """Name the operator as the log does, and as they call themselves."""
    transport: Any = request.channel.transport
    peer: str = getattr(transport, "peer", "unknown")
    place = describe_peer(transport) if peer.startswith("unix") else f"operator at {peer}"
    name = (request.getHeader(NAME) or b"").decode("latin-1")
    return place.replace("operator", f"operator {name}", 1) if _NAME.fullmatch(name) else place


def _argument(request: PageRequest, name: bytes) -> str:
    return str(request.args.get(name, [b""])[0].decode("utf-8", "replace"))


def _json(found: Any) -> Page:
    return Page(http.OK, json.dumps(found, default=str).encode(), _JSON, _HEADERS)


_WRONG_HOST = plain(
    http.FORBIDDEN, "the page is served at an address, localhost, or a name in http_names"
)
_NO_TOKEN = plain(
    http.FORBIDDEN, f"takes the header {TOKEN.decode()}; socketd web prints the token"
)
