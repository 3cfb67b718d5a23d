"""
Who may read the status page, and who may change something by it.

A page of another site can make a browser send requests here, and by a name that it lets point
here (DNS rebinding) it could read the answers, too. So the Host has to be an address, localhost
or a name of the configuration; what is not the page's own request is refused; and changes take a
token, in a header of its own.
"""

from __future__ import annotations

import re
from collections.abc import Container
from hmac import compare_digest

from attrs import frozen
from twisted.web.http_headers import Headers

from socketd.common.host_names import is_ip_address

#: The header with the token.
TOKEN = b"X-Socketd-Token"

#: What Sec-Fetch-Site may say: the page's own requests, and those that no page made.
_OWN = (b"same-origin", b"none")

#: The value of Host (RFC 9110, 7.2).
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:]*))(?::[0-9]{1,5})?")


@frozen
class PageGuard:
    """
    The rules of one status page: the token that changes take, the names in lower case by which it
    is reached, besides C{localhost}, and whether reading takes no token.
    """

    token: bytes
    names: Container[str] = ()
    reads_freely: bool = True

    def knows_host(self, headers: Headers) -> bool:
        """Say whether the page is asked for by an address or one of its names."""
        found = headers.getRawHeaders(b"host", [])
        match = _HOST.fullmatch(found[0].decode("latin-1").lower()) if len(found) == 1 else None
        if match is None:
            return False
        name = match["name"] or ""
        return name == "localhost" or name in self.names or is_ip_address(match["v6"] or name)

    def is_own(self, headers: Headers) -> bool:
        """Say whether a request is the page's own, or that of a program without pages."""
        (host,) = headers.getRawHeaders(b"host", [b""])
        origins = headers.getRawHeaders(b"origin", [])
        sites = headers.getRawHeaders(b"sec-fetch-site", [])
        return all(origin.partition(b"://")[2] == host for origin in origins) and all(
            site in _OWN for site in sites
        )

    def may_change(self, headers: Headers) -> bool:
        """Say whether a request has the token."""
        found = headers.getRawHeaders(TOKEN, [])
        return len(found) == 1 and compare_digest(found[0], self.token)

    def may_read(self, headers: Headers) -> bool:
        """Say whether a request may read."""
        return self.reads_freely or self.may_change(headers)
