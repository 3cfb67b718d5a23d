"""Tests for L{socketd.common.host_names}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.host_names import (
    MAX_NAME,
    bracketed,
    is_host_name,
    is_ip_address,
    parse_host,
    parse_name,
)

LONG = ".".join(["a" * 63] * 3 + ["a" * 61])

HOSTS = {
    "localhost": "localhost",
    "Example.COM": "example.com",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "1.example": "1.example",
    "3com.com": "3com.com",
    "127.0.0.1": "127.0.0.1",
    "0:0::1": "::1",
    "2001:DB8::9": "2001:db8::9",
    LONG: LONG,
}

BAD_HOSTS = {
    "": "no host name",
    "a b": "no host name",
    "a..b": "no host name",
    "a.": "no host name",
    "-a": "no host name",
    "a-": "no host name",
    "a_b": "no host name",
    "256.1.1.1": "no host name",
    "1.2.3": "no host name",
    "::g": "no host name",
    "a" * 64: "no host name",
    LONG + "a": "no host name",
    "a\n": "no host name",
    "fe80::1%eth0": "no host name",
    "[::1]": "without brackets",
    "b\u00fccher.example": "xn-- form",
}


class ParseTests(SynchronousTestCase):
    """Tests for L{parse_host}, L{parse_name} and L{is_ip_address}."""

    def test_hosts(self) -> None:
        """Good names and addresses have one form each, in a certificate too."""
        self.assertEqual(len(LONG), MAX_NAME)
        for text, expected in HOSTS.items():
            self.assertEqual(parse_host(text), expected)
            self.assertEqual(parse_name(text), expected)

    def test_bracketed(self) -> None:
        """Only an IPv6 address has brackets in front of a port."""
        for host, expected in {"::1": "[::1]", "127.0.0.1": "127.0.0.1", "*": "*"}.items():
            self.assertEqual(bracketed(host), expected)

    def test_bad_hosts(self) -> None:
        """A bad one is refused with one sentence that says what would be right."""
        for text, part in BAD_HOSTS.items():
            for parse in (parse_host, parse_name):
                message = str(self.assertRaises(ValueError, parse, text))
                self.assertIn(part, message)
                self.assertIn("would be right", message)
                self.assertNotIn("\n", message)

    def test_wildcards(self) -> None:
        """A star stands for the whole first label, below a domain of two labels or more."""
        self.assertEqual(parse_name("*.Example.com"), "*.example.com")
        for text in ("*.com", "*", "*.", "*.1.2.3.4", "*.::1"):
            self.assertIn("too wide", str(self.assertRaises(ValueError, parse_name, text)))
        for text in ("*a.example.com", "*.*.example.com", "a.*.example.com", "**.example.com"):
            self.assertIn("no host name", str(self.assertRaises(ValueError, parse_name, text)))
        self.assertRaises(ValueError, parse_host, "*.example.com")

    def test_addresses(self) -> None:
        """An address is known as such; one with a zone is of one machine only, and is none."""
        cases = {"::1": True, "1.2.3.4": True, "a": False, "fe80::1%1": False}
        for text, expected in cases.items():
            self.assertEqual(is_ip_address(text), expected)

    def test_underscores(self) -> None:
        """Underscores are for service names; all other rules are the same."""
        for name in ("_dmarc.example", "a_b", "_"):
            self.assertFalse(is_host_name(name))
            self.assertTrue(is_host_name(name, underscores=True))
        for name in ("", ".", "a.", "-a", "a-", "a..b", "a b", "a\n", "a" * 64, LONG + "a"):
            self.assertFalse(is_host_name(name, underscores=True), name)
        for name in ("a" * 63 + ".b", LONG, "xn--bcher-kva.example", "1.2"):
            self.assertTrue(is_host_name(name, underscores=True))
