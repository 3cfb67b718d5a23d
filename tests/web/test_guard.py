"""Tests for L{socketd.web.guard}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from socketd.web.guard import TOKEN, PageGuard

GUARD = PageGuard(b"secret", ("srv.example.org",))


def headers(**values: str) -> Headers:
    """Make headers, by names with underscores."""
    return Headers({name.replace("_", "-"): [value] for name, value in values.items()})


class GuardTests(SynchronousTestCase):
    """Tests for L{PageGuard}."""

    def test_hosts(self) -> None:
        """Addresses, localhost and the names of the file are known, with a port or without."""
        for host in (
            "127.0.0.1", "127.0.0.1:9155", "192.0.2.7:80", "[::1]", "[::1]:9155", "localhost",
            "LOCALHOST:1", "srv.example.org", "Srv.Example.Org:9155",
        ):  # fmt: skip
            self.assertTrue(GUARD.knows_host(headers(host=host)), host)

    def test_other_hosts(self) -> None:
        """Every other name may point here by DNS, and is not known; nor are two."""
        for host in (
            "", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
            "evil.example:127.0.0.1", "srv.example.org.", "xsrv.example.org", "[]", "[localhost",
            "127.0.0.1@evil.example", "0x7f000001", "127.1", "[fe80::1%lo]", "local host",
        ):  # fmt: skip
            self.assertFalse(GUARD.knows_host(headers(host=host)), host)
        self.assertFalse(GUARD.knows_host(Headers()))
        self.assertFalse(GUARD.knows_host(Headers({"Host": ["127.0.0.1", "localhost"]})))

    def test_own(self) -> None:
        """The page's own requests, and those of programs, are told from those of other pages."""
        for more in (
            {},
            {"origin": "http://127.0.0.1:9155"},
            {"origin": "https://127.0.0.1:9155"},
            {"origin": "http://127.0.0.1:9155", "sec_fetch_site": "same-origin"},
            {"sec_fetch_site": "none"},
        ):
            self.assertTrue(GUARD.is_own(headers(host="127.0.0.1:9155", **more)), more)
        self.assertTrue(GUARD.is_own(Headers()))
        for more in (
            {"origin": "null"},
            {"origin": ""},
            {"origin": "http://127.0.0.1"},
            {"origin": "http://localhost:9155"},
            {"origin": "http://evil.example"},
            {"origin": "http://evil.example://127.0.0.1:9155"},
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
            {"origin": "http://127.0.0.1:9155", "sec_fetch_site": "cross-site"},
        ):
            self.assertFalse(GUARD.is_own(headers(host="127.0.0.1:9155", **more)), more)

    def test_token(self) -> None:
        """Changes take the token, once, and nothing else."""
        self.assertTrue(GUARD.may_change(Headers({TOKEN: [b"secret"]})))
        for values in ([], [b""], [b"secre"], [b"secret "], [b"Secret"], [b"secret", b"secret"]):
            self.assertFalse(GUARD.may_change(Headers({TOKEN: values})), values)
        self.assertFalse(GUARD.may_change(headers(cookie=f"{TOKEN.decode()}=secret")))

    def test_reading(self) -> None:
        """Reading is free, or takes the token where others can reach the page."""
        self.assertTrue(GUARD.may_read(Headers()))
        elsewhere = PageGuard(b"secret", reads_freely=False)
        self.assertFalse(elsewhere.may_read(Headers()))
        self.assertTrue(elsewhere.may_read(Headers({TOKEN: [b"secret"]})))
