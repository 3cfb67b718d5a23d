"""Tests for L{socketd.protocols.web.asked} and L{socketd.protocols.web.asked}."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.web.answers import json_text
from socketd.protocols.web.asked import (
    MAX_FIELDS,
    Asked,
    as_text,
    describe,
    host_of,
    parse_body,
    parse_fields,
)

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XY"


class AskedTests(SynchronousTestCase):
    """Tests for what is told of a request."""

    def test_claims(self) -> None:
        """What headers claim of the client is told apart, and said not to be believed."""
        lines = (b"X-Forwarded-For: 1.1.1.1, 2.2.2.2", b"x-forwarded-for: 3.3.3.3", b"X-Real-IP:4")
        asked = Asked("GET", "/", lines=(*lines, b"Forwarded: for=5", b"X-Other: 6"))
        told = describe(asked, {"peer": "the peer"})
        self.assertEqual(told["peer"], "the peer")
        self.assertEqual(told["forwarded"], {
            "believed": False,
            "X-Forwarded-For": ["1.1.1.1, 2.2.2.2"],
            "x-forwarded-for": ["3.3.3.3"],
            "X-Real-IP": ["4"],
            "Forwarded": ["for=5"],
        })
        self.assertIsNone(describe(Asked("GET", "/"), {})["forwarded"])

    def test_wants_text(self) -> None:
        """Text is wanted if it is preferred to JSON by name."""
        for accepted, expected in (
            ("", False),
            ("*/*", False),
            ("text/html,application/xhtml+xml,*/*;q=0.8", False),
            ("text/plain", True),
            ("text/html, Text/Plain;q=0.5", True),
            ("text/plain, application/json", False),
            ("text/plain;q=0.5, application/json;q=0.9", False),
            ("text/plain;q=1, application/json;q=0.9", True),
            ("text/plain;q=0", False),
            ("text/plain;q=x", True),
            ("text/plainer", False),
        ):
            asked = Asked("GET", "/", lines=(b"aCCept: " + accepted.encode(),))
            self.assertIs(asked.wants_text, expected, accepted)

    def test_bytes_that_are_no_text(self) -> None:
        """Headers and bodies that are no UTF-8 are told all the same, as ASCII."""
        asked = Asked("PUT", "/", lines=(b"X: \xff\xc3\xa9",), body=b"\xed\xa0\x80")
        text = json_text(describe(asked, {}))
        self.assertTrue(text.isascii())
        told = json.loads(text)
        self.assertEqual(told["headers"], [["X", "\\xff\xe9"]])
        self.assertEqual((told["body"], told["body_base64"]), (None, "7aCA"))

    def test_facts_as_text(self) -> None:
        """Facts with parts are one line each; what is not there has none."""
        facts = {
            "peer": {"address": "::1", "port": 5},
            "local": {"path": "/run/x"},
            "proxy": None,
            "tls": {"version": "TLSv1.3", "sni": None, "client": ["CN=x"]},
        }
        self.assertEqual(as_text(Asked("GET", "/"), facts), (
            b"peer: ::1 5\nlocal: path /run/x\ntls: version TLSv1.3, client ['CN=x']\n"
            b"request: 1\n\nGET / HTTP/1.1\n"
        ))

    def test_host_of(self) -> None:
        """The origin is a host, a path, or nothing for a client without a name."""
        for address, host in (
            ({"address": "::1", "port": 5}, "::1"),
            ({"path": "/run/x"}, "/run/x"),
            ({"path": None}, ""),
        ):
            self.assertEqual(host_of(address), host)


class BodyTests(SynchronousTestCase):
    """Tests for what is in a body."""

    def test_json(self) -> None:
        """JSON is what parses as such, whatever the type says; what JSON has not is none."""
        for body, value in (
            (b'{"a": [1, null, "\\ud800"]}', {"a": [1, None, "\ud800"]}),
            (b" 5 ", 5),
            (b"\xef\xbb\xbf5", 5),
            (b"", None),
            (b"{a: 1}", None),
            (b"NaN", None),
            (b"[1e999]", None),
            (b"[" * 60_000, None),
            (b"[" * 900 + b"]" * 900, None),
            (b"9" * 5000, None),
            (b"\xff", None),
        ):
            found = parse_body(body, "text/plain")[2]
            if len(body) != 1800:
                self.assertEqual(found, value, body[:20])
            json.loads(json_text({"json": found}))

    def test_form(self) -> None:
        """A form is parsed where the type says that it is one."""
        body = b"a=1&a=&b=%C3%A9+c&%FF=d"
        form = {"a": ["1", ""], "b": ["\xe9 c"], "\ufffd": ["d"]}
        for content_type in (FORM, f"{FORM.upper()} ; charset=utf-8"):
            self.assertEqual(parse_body(body, content_type), (form, None, None))
        self.assertEqual(parse_body(body, "text/plain"), (None, None, None))
        self.assertEqual(parse_body(b"5", FORM), ({"5": [""]}, None, 5))

    def test_too_many_fields(self) -> None:
        """A query or form with too many fields is not parsed."""
        self.assertEqual(parse_fields("&".join(["a=1"] * MAX_FIELDS)), {"a": ["1"] * MAX_FIELDS})
        self.assertIsNone(parse_fields("&".join(["a=1"] * (MAX_FIELDS + 1))))

    def test_multipart(self) -> None:
        """The fields and the files of a multipart form (RFC 7578)."""
        body = (
            b"before\r\n--XY\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n"
            b'--XY\r\ncontent-disposition: form-data; NAME="f"; filename="x.txt"\r\n'
            b"content-type: text/plain\r\n\r\n\xff\xfe\xfd\r\n"
            b'--XY\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xe2\x82\xac\r\n--XY--\r\n'
        )
        files = {"f": [{"filename": "x.txt", "type": "text/plain", "size": 3}]}
        for content_type in (MULTIPART, 'Multipart/Form-Data; x=y; boundary="XY"'):
            found = parse_body(body, content_type)
            self.assertEqual(found, ({"a": ["1\r\n2", "\u20ac"]}, files, None))

    def test_no_multipart(self) -> None:
        """What is not whole is not parsed."""
        part = b"\r\n--XY\r\n\r\nx"
        for body, content_type in (
            (b"", MULTIPART),
            (b"--XY--", "multipart/form-data"),
            (part, MULTIPART),
            (part * (MAX_FIELDS + 1) + b"\r\n--XY--", MULTIPART),
        ):
            self.assertEqual(parse_body(body, content_type), (None, None, None))
        self.assertEqual(parse_body(b"--XY--", MULTIPART), ({}, {}, None))
        self.assertEqual(parse_body(part + b"\r\n--XY--", MULTIPART), ({"": ["x"]}, {}, None))
