"""Tests for L{socketd.cli.common.address}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.address import ENDPOINT, MAX_PATH, Address, parse

HOSTS = {
    "127.0.0.1:80": ("tcp", "127.0.0.1", 80),
    "localhost:65535": ("tcp", "localhost", 65535),
    "a-b.example.com:1": ("tcp", "a-b.example.com", 1),
    "b\u00fccher.example:80": ("tcp", "b\u00fccher.example", 80),
    "[::1]:12345": ("tcp", "::1", 12345),
    "[fe80::1%eth0]:7": ("tcp", "fe80::1%eth0", 7),
    "tcp:localhost:80": ("tcp", "localhost", 80),
    "tcp:[::1]:80": ("tcp", "::1", 80),
    "tcp6:localhost:80": ("tcp6", "localhost", 80),
    "tcp6:[::1]:80": ("tcp6", "::1", 80),
    "tls:localhost:443": ("tls", "localhost", 443),
    "tls:[::1]:443": ("tls", "::1", 443),
    "tls6:localhost:443": ("tls6", "localhost", 443),
    "udp:127.0.0.1:53": ("udp", "127.0.0.1", 53),
    "udp:[::1]:53": ("udp", "::1", 53),
    "udp6:localhost:53": ("udp6", "localhost", 53),
}

PATHS = {
    "/run/a.sock": ("unix", "/run/a.sock"),
    "./a.sock": ("unix", "./a.sock"),
    "../a:1": ("unix", "../a:1"),
    ".sock": ("unix", ".sock"),
    "run/a.sock": ("unix", "run/a.sock"),
    "/run/a:b=c": ("unix", "/run/a:b=c"),
    "unix:/run/a.sock": ("unix", "/run/a.sock"),
    "unix:a.sock": ("unix", "a.sock"),
    "unix:/run/a:b": ("unix", "/run/a:b"),
    "unixgram:/run/a.sock": ("unixgram", "/run/a.sock"),
    "unixgram:/run/a=b": ("unixgram", "/run/a=b"),
    "/" + "a" * (MAX_PATH - 1): ("unix", "/" + "a" * (MAX_PATH - 1)),
}

DESCRIPTIONS = [
    "tcp:host=localhost:port=80:timeout=5",
    "tcp:localhost:80:timeout=5",
    "tcp:\\:\\:1:80",
    "unix:/run/a.sock:timeout=5",
    "unix:path=/run/a.sock",
    "tls:host=example.com:port=443",
    "tls:example.com:443:trustRoots=/etc/ssl/certs",
    "ssl:host=example.com:port=443",
    "other:argument=1",
]

COMPLAINTS = {
    "": "an empty address",
    "localhost": "no port",
    "tcp:80": "no port; tcp:HOST:PORT",
    "udp:53": "no port; udp:HOST:PORT",
    "tls:443": "no port; tls:HOST:PORT",
    "tls:a:443:b": "no valid host name",
    ":80": "no valid host name",
    "udp::53": "no valid host name",
    "two words:80": "no valid host name",
    "localhost:": "'' is no port number",
    "localhost:http": "'http' is no port number",
    "localhost:-1": "'-1' is no port number",
    "localhost:\u0661": "is no port number",
    "localhost:0": "out of range; 1 to 65535",
    "localhost:65536": "out of range",
    "localhost:70000": "out of range",
    "localhost:" + "9" * 5000: "out of range",
    "udp:localhost:70000": "out of range",
    "[::1]:70000": "out of range",
    "tls:localhost:70000": "out of range",
    "tcp:host=localhost:port=70000": "out of range",
    "::1": "without brackets",
    "::1:80": "without brackets",
    "fe80::1:80": "without brackets",
    "tcp:::1:80": "without brackets",
    "udp:::1:80": "without brackets",
    "[::1]": "no port after the bracket",
    "[::1": "no port after the bracket",
    "[::1]80": "no port after the bracket",
    "[localhost]:80": "is no IPv6 address",
    "[]:80": "is no IPv6 address",
    "http://localhost/": "is a URL",
    "tcp://localhost:80": "is a URL",
    "unix:": "no path",
    "unixgram:": "no path",
    "/a\0b": "no path",
    "/" + "a" * MAX_PATH: "too long a path",
    "unixgram:/" + "\u00fc" * (MAX_PATH // 2 + 1): "too long a path",
}


class ParseTests(SynchronousTestCase):
    """Tests for L{parse}."""

    def test_hosts(self) -> None:
        """A host and a port are found with and without a scheme and brackets."""
        for text, (scheme, host, port) in HOSTS.items():
            self.assertEqual(parse(text), Address(text, scheme, host=host, port=port))

    def test_paths(self) -> None:
        """A path is known by a slash before any colon, by a dot at its start, or by its scheme."""
        for text, (scheme, path) in PATHS.items():
            self.assertEqual(parse(text), Address(text, scheme, path=path))

    def test_descriptions(self) -> None:
        """What only Twisted can read is left to it as it stands."""
        for text in DESCRIPTIONS:
            self.assertEqual(parse(text), Address(text, ENDPOINT, path=text))

    def test_complaints(self) -> None:
        """A bad address is refused with one sentence that says what is wrong and what is right."""
        for text, part in COMPLAINTS.items():
            message = str(self.assertRaises(ValueError, parse, text))
            self.assertIn(part, message)
            self.assertTrue("right" in message or "write" in message, message)
            self.assertNotIn("\n", message)

    def test_datagrams(self) -> None:
        """An address knows whether it is one of datagrams."""
        for text in ("udp:a:1", "udp6:a:1", "unixgram:/a"):
            self.assertTrue(parse(text).is_datagram)
        for text in ("a:1", "/a", "tcp6:a:1", "tls:a:1:b=c"):
            self.assertFalse(parse(text).is_datagram)

    def test_tls(self) -> None:
        """An address knows whether TLS is ours to speak; Twisted's strings bring their own."""
        for text in ("tls:a:1", "tls6:a:1"):
            self.assertTrue(parse(text).is_tls)
        for text in ("a:1", "/a", "tls:a:1:b=c", "ssl:a:1:b=c"):
            self.assertFalse(parse(text).is_tls)
