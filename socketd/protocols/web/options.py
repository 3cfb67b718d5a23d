"""The options of C{http} and C{websocket}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from mimetypes import MimeTypes
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from socketd.protocols.rules.options import RULES
from socketd.protocols.web.answers import BYTES
from socketd.settings.listeners import Listener
from socketd.settings.options import option
from socketd.settings.value_types import (
    DURATION,
    LIST,
    NUMBER,
    SIZE,
    YES_NO,
    ValueType,
    one_file,
    parse_list,
    parse_path,
    read_file,
    within,
)

if TYPE_CHECKING:
    from socketd.protocols.rules.ruleset import RuleSet

#: The largest file of C{response} (bytes): it is kept in memory, and sent as one.
MAX_FILE = 1024 * 1024

#: The largest C{max_header} (bytes): what a connection may hold unsent.
MAX_HEADER = 64 * 1024

#: The largest C{max_body} (bytes): the answer, which has it twice, is made in one turn.
MAX_BODY = 4 * 1024 * 1024

#: The largest C{max_message} (bytes), that of the Autobahn test suite.
MAX_MESSAGE = 16 * 1024 * 1024

#: The largest C{max_bytes}, and C{max_delay} in seconds.
MAX_BYTES = 1024**3
MAX_DELAY = 3600.0


@frozen
class FixedResponse:
    """The content of a file, and its media type."""

    body: bytes
    media_type: str


def read_response(path: str) -> FixedResponse | None:
    """
    Read the file of C{response}; its ending tells the media type.

    @raise ValueError: with the error.
    """
    if not parse_path(path):
        return None
    body = read_file(path, MAX_FILE, "a file to answer with", "such a file")
    # Python's own table: those of the system differ.
    found = MimeTypes().guess_type(Path(path).name)[0] or BYTES
    return FixedResponse(body, f"{found}; charset=utf-8" if found.startswith("text/") else found)


def parse_health(text: str) -> str:
    """Parse the path of the health check; an empty text means none."""
    # Neither ? nor #, behind which no path is.
    if text and re.fullmatch(r'/[!"$->@-~]{0,255}', text) is None:
        raise ValueError("is no path; write /healthz, for example")
    return text


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse a list of origins, as browsers write them (RFC 6454, 6.2)."""
    problem = "is no origin; write https://example.org, in lower case and without a path"
    return _items(text, r"null|[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+", problem)


def parse_subprotocols(text: str) -> tuple[str, ...]:
    """Parse a list of subprotocols, which are tokens (RFC 6455, 4.1)."""
    problem = "is no subprotocol; write letters, digits, points or hyphens"
    return _items(text, r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", problem)


def _items(text: str, pattern: str, problem: str) -> tuple[str, ...]:
    items = parse_list(text)
    for item in items:
        if re.fullmatch(pattern, item) is None:
            raise ValueError(f"has {item}, which {problem}")
    return items


@frozen
class WebSocketOptions:
    """The options of C{websocket}, which C{http} has too."""

    health: str = option(
        ValueType("URL (/healthz)", parse_health),
        "",
        "A path that answers 200 and ok, and is no event in the log; by default none is.",
    )
    max_header: int = option(
        within(SIZE, 1024, MAX_HEADER, "write 1KiB to 64KiB"),
        16 * 1024,
        "The longest request line and headers together; a longer one is answered 431 or 414.",
    )
    request_timeout: float = option(
        within(DURATION, 0.1, MAX_DELAY, "write 100ms to 1h"),
        30.0,
        "The time in which a request that has begun must be complete, or it is answered 408.",
    )
    subprotocols: tuple[str, ...] = option(
        evolve(LIST, parse=parse_subprotocols),
        (),
        "The subprotocols of WebSocket that are agreed on, in any order; by default none.",
    )
    origins: tuple[str, ...] = option(
        evolve(LIST, parse=parse_origins),
        (),
        "The origins whose pages may use WebSocket, https://example.org for example; by default"
        " all. Clients without an origin are served.",
    )
    deflate: bool = option(
        YES_NO, True, "Whether messages of WebSocket are compressed for clients that offer it."
    )
    max_message: int = option(
        within(SIZE, 1, MAX_MESSAGE, "write 1 to 16MiB"),
        64 * 1024,
        "The longest message of WebSocket; a longer one ends the connection with 1009.",
    )

    rules: RuleSet | None = option(
        RULES,
        None,
        "What answers which message of WebSocket, as in reply; by default each comes back.",
    )

    # A request for WebSocket has no body, and a connection few others.
    websocket = True
    max_body = 0
    max_requests = 100


@frozen
class HttpOptions(WebSocketOptions):
    """The options of C{http}."""

    response: FixedResponse | None = option(
        ValueType("file", read_response, one_file),
        None,
        "A file that answers every request; it is read when the configuration is.",
    )
    hostname: bool = option(YES_NO, True, "Whether this machine's name is told.")
    max_body: int = option(
        within(SIZE, 0, MAX_BODY, "write 0 to 4MiB"),
        64 * 1024,
        "The longest body of a request; a longer one is answered 413.",
    )
    max_requests: int = option(
        within(NUMBER, 1, 1_000_000, "write 1 to 1000000"),
        1000,
        "The requests of one connection; the last one is answered with Connection: close.",
    )
    max_delay: float = option(
        within(DURATION, 0.0, MAX_DELAY, "write 0s to 1h"),
        10.0,
        "The longest delay that a request may ask for: /delay, /drip.",
    )
    max_bytes: int = option(
        within(SIZE, 0, MAX_BYTES, "write 0 to 1GiB"),
        10 * 1024 * 1024,
        "The most bytes that a request may ask for: /bytes, /range, /drip.",
    )
    websocket: bool = option(
        YES_NO, True, "Whether a request for WebSocket is answered, at any path."
    )


def refusals(
    options: WebSocketOptions, listeners: Sequence[Listener]
) -> Iterator[tuple[str, ValueError]]:
    """List what is wrong with the rules in their service."""
    if options.rules is None:
        return
    # Lazy: a service without rules does not spend the time of the import.
    from socketd.protocols.rules.ruleset import refusals_of

    for error in refusals_of(options.rules, "chunk", options.max_message, listeners):
        yield "rules", error
