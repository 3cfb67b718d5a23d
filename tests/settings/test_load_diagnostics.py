"""Tests for L{socketd.settings.load}: what it reports, in which words."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.diagnostics import Diagnostic, SettingsError
from socketd.settings.load import parse
from socketd.settings.model import Settings
from tests.settings.refusals import PROTOCOLS, RUNTIME, Importing, diagnostics

NO_LISTEN = "has no listen; write listen = listeners (tcp:7007 udp:7007 unix:PATH)"

#: What a file says, and what is wrong with it, line by line.
TABLE: list[tuple[str, list[str]]] = [
    # Options that do not exist.
    ("[echo]\nlisten = tcp:7\nlisen = tcp:8\n",
     ["FILE:3: [echo] lisen: is not an option here; did you mean listen?"]),
    ("[echo]\nlisten = tcp:7\nfoo = 1\n",
     ["FILE:3: [echo] foo: is not an option here; docs/options.md has the list"]),
    ("[echo]\nListen = tcp:7\n",
     [f"FILE:1: [echo]: {NO_LISTEN}",
      "FILE:2: [echo] Listen: is not an option here; did you mean listen?"]),
    ("[socketd]\nlog_levels = info\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] log_levels: is not an option here; did you mean log_level?"]),
    ("[stream]\nlisten = tcp:7\nreply = x\n[talk]\nlisten = tcp:8\nreply = x\n",
     ["FILE:3: [stream] reply: is not an option here; talk has it"]),
    # Protocols.
    ("[eco]\nlisten = tcp:7\n",
     ["FILE:1: [eco]: is not a protocol; did you mean echo?"]),
    ("[a]\nprotocol = http\nlisten = tcp:7\n",
     ["FILE:2: [a] protocol = http: is not a protocol;"
      " known are datagram, echo, stream, talk"]),
    ("[a]\nprotocol =\nlisten = tcp:7\n",
     ["FILE:2: [a] protocol =: is not a protocol; known are datagram, echo, stream, talk"]),
    # Values.
    ("[talk]\nlisten = tcp:7\nreply = a\\qb\nclose = perhaps\ntimes = x\n",
     [r"FILE:3: [talk] reply = a\qb: has the unknown escape \q;"
      r" known are \n \r \t \xNN and \\",
      "FILE:4: [talk] close = perhaps: is neither yes nor no",
      "FILE:5: [talk] times = x: is not a whole number"]),
    ("[socketd]\ndrain_timeout = 10\nlog_level = loud\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] drain_timeout = 10: is not a duration; write 250ms, 10s, 5m or 1h",
      "FILE:3: [socketd] log_level = loud: is not known;"
      " write debug or info or warn or error"]),
    ("[socketd]\nhttp_names = srv.example.org, a:80\nstatus_page = yes\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] http_names = srv.example.org, a:80: has 'a:80', which is no host name;"
      " write such as srv.example.org",
      "FILE:3: [socketd] status_page = yes: is not known; write local or everywhere or no"]),
    ("[socketd]\ncontrol = /run/a\n  /run/b\n[echo]\nlisten = tcp:7\n",
     [r"FILE:2: [socketd] control = /run/a\n/run/b: is not a path"]),
    ("[echo]\nlisten = tcp:7\nso_linger = 5s\n",
     ["FILE:3: [echo] so_linger = 5s: would stop the whole daemon at each close;"
      " write no or 0s"]),
    ("[echo]\nlisten = tcp:7\nenabled = si\n",
     ["FILE:3: [echo] enabled = si: is neither yes nor no"]),
    ("[echo]\nenabled = no\nlisten = tcp:x\n",
     ["FILE:3: [echo] listen = tcp:x: has the port x; a port is a number from 0 to 65535"]),
    ("[echo]\nlisten = tcp:7\nprotocol = two words\n",
     ["FILE:3: [echo] protocol = two words: is not a protocol;"
      " known are datagram, echo, stream, talk"]),
    # What is missing.
    ("[talk]\n",
     [f"FILE:1: [talk]: {NO_LISTEN}",
      r"FILE:1: [talk]: has no reply; write reply = text (\n \r \t \xNN \\)"]),
    ("[echo]\nlisten =\n",
     ["FILE:2: [echo] listen =: is empty; write tcp:PORT or udp:PORT"]),
    # It may stand in the other half of a section that stands twice.
    ("[echo]\nlisten = tcp:7\n[echo]\nlog_messages = text\n",
     ["FILE:3: [echo]: is there twice; join the two"]),
    # Names.
    ("[no name]\nprotocol = echo\nlisten = tcp:7\n",
     ["FILE:1: [no name]: is not a service name;"
      " use up to 32 letters, digits and . _ -"]),
    ("[echo]\nlisten = tcp:7\n[echo ]\nprotocol = echo\nlisten = tcp:8\n",
     ["FILE:3: [echo ]: is not a service name; use up to 32 letters, digits and . _ -"]),
    ("[socketd]\nlisten = tcp:7\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] listen: is not an option here;"
      " write it in the section of a service, or in [defaults] for all"]),
    ("[DEFAULT]\nlog_messages = text\n[echo]\nlisten = tcp:7\n",
     ["FILE:1: [DEFAULT]: is not a protocol; known are datagram, echo, stream, talk"]),
    # Listeners.
    ("[echo]\nlisten =\n    tcp:70000\n    tpc:7\n    tcp:7\n",
     ["FILE:2: [echo] listen = tcp:70000: has the port 70000;"
      " a port is a number from 0 to 65535",
      "FILE:2: [echo] listen = tpc:7: has the unknown kind tpc:; write tcp:7"]),
    # Those of one list stand in its order.
    ("[echo]\nlisten = tpc:7, tcp:70000\n",
     ["FILE:2: [echo] listen = tpc:7: has the unknown kind tpc:; write tcp:7",
      "FILE:2: [echo] listen = tcp:70000: has the port 70000;"
      " a port is a number from 0 to 65535"]),
    ("[datagram]\nlisten = tcp:7, udp:7, unix:a\n",
     ["FILE:2: [datagram] listen = tcp:7: is a stream listener,"
      " which the protocol does not have; write udp:",
      "FILE:2: [datagram] listen = unix:a: is a stream listener,"
      " which the protocol does not have; write udp:"]),
    ("[stream]\nlisten = tcp:7, udp6:7\n",
     ["FILE:2: [stream] listen = udp6:7: is a datagram listener,"
      " which the protocol does not have; write tcp:"]),
    # What other files have.
    ("[echo]\nlisten = tcp:7   # the first\n",
     ["FILE:2: [echo] listen = tcp:7   # the first: has a #, and a comment begins with a"
      " semicolon; write tcp:7  ; the first"]),
    ("[echo]\nlisten =\n  tcp:7, tcp:8\n  udp:7 #, tcp:9\n",
     [r"FILE:2: [echo] listen = \ntcp:7, tcp:8\nudp:7 #, tcp:9: has a #, and a comment"
      " begins with a semicolon; write udp:7  ;, tcp:9"]),
    ("[socketd]\ncontrol = /run/x.sock  # x\nhttp = tcp:8 # y\n"
     "[echo]\nlisten = tcp:7\nmax_connections = 5 # z\n",
     ["FILE:2: [socketd] control = /run/x.sock  # x: has a #, and a comment begins with a"
      " semicolon; write /run/x.sock  ; x",
      "FILE:3: [socketd] http = tcp:8 # y: has a #, and a comment begins with a"
      " semicolon; write tcp:8  ; y",
      "FILE:6: [echo] max_connections = 5 # z: has a #, and a comment begins with a"
      " semicolon; write 5  ; z"]),
    # Where any text is right, so is this one.
    ("[talk]\nlisten = tcp:7\nreply = a # b\n",
     []),
    ("[echo]\nlisten = \"tcp:7, udp:7\"\n",
     ['FILE:2: [echo] listen = "tcp:7, udp:7": has quotes, which would be part of it;'
      " write tcp:7, udp:7"]),
    ("[socketd]\ncontrol = '/run/x.sock'\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] control = '/run/x.sock': has quotes, which would be part of it;"
      " write /run/x.sock"]),
    ("[socketd]\ncontrol = unix:/run/x.sock\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] control = unix:/run/x.sock: is a listener, not a path;"
      " write control = /run/x.sock"]),
    ("[socketd]\ncontrol = tcp:9\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] control = tcp:9: is a listener, not a path;"
      " write control = {runtime}/control.sock"]),
    ("[socketd]\ncontrol = ~/x.sock\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] control = ~/x.sock: has a ~, which is not expanded;"
      " write the whole path"]),
    ("[socketd]\ncontrol = /" + "x" * 107 + "\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [socketd] control = /" + "x" * 59 + "...: has a path of over 107 bytes;"
      " choose a shorter one"]),
    ("[echo]\nlisten: tcp:7\nidle_timeout : 5s\nprose without a sign\n",
     [f"FILE:1: [echo]: {NO_LISTEN}",
      "FILE:2: is neither [section] nor option = value; write listen = tcp:7",
      "FILE:3: is neither [section] nor option = value; write idle_timeout = 5s",
      "FILE:4: is neither [section] nor option = value"]),
    # The sign of the argument is taken for that of the option.
    ("[echo]\nlisten: tcp:7:interface=127.0.0.1\n",
     [f"FILE:1: [echo]: {NO_LISTEN}",
      "FILE:2: [echo] listen: tcp:7:interface: is not an option here;"
      " write listen = tcp:7:interface=127.0.0.1"]),
    ("[echo]\nport = 7007\n",
     [f"FILE:1: [echo]: {NO_LISTEN}",
      "FILE:2: [echo] port: is not an option here; write listen = tcp:7007 or udp:7007"]),
    ("[echo]\nlisten = tcp:7\nbind = here\n",
     ["FILE:3: [echo] bind: is not an option here; write listen = tcp:PORT or udp:PORT"]),
    ("[echo]\nlisten = tcp:7\nlog_level = info\n",
     ["FILE:3: [echo] log_level: is not an option here; write it in [socketd]"]),
    # Defaults.
    ("[defaults]\nprotocol = echo\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [defaults] protocol: is not an option here;"
      " write it in the section of a service"]),
    ("[defaults]\nlisten = tcp:7\n[echo]\nlisten = tcp:7\n",
     ["FILE:2: [defaults] listen: is not an option here; write it in the section of a service"]),
    ("[defaults]\nso_keepalive = maybe\n[echo]\nlisten = tcp:7\n[stream]\nlisten = tcp:8\n",
     ["FILE:2: [defaults] so_keepalive = maybe: is neither yes nor no"]),
    ("[echo]\nlisten = tcp:7\n[defaults]\nlog_conections = no\n",
     ["FILE:4: [defaults] log_conections: is not an option here;"
      " did you mean log_connections?"]),
    ("[echo]\nlisten = tcp:7\n[defaults]\nreply = x\n",
     ["FILE:4: [defaults] reply: is not an option here; talk has it"]),
]  # fmt: skip

NO_CERTIFICATE = "has a listener for TLS, and no certificate; write tls_certificate = PATH"
NO_TLS = "is for TLS, which no listener here uses; write tls:PORT"
NO_PROXY = "has a haproxy: listener that trusts no proxy; write proxy_from = NETWORKS"

#: The same of what has to go together.
TOGETHER: list[tuple[str, list[str]]] = [
    # A listener for TLS and a certificate.
    ("[echo]\nlisten = tcp:7, tls:8\n", [f"FILE:2: [echo]: {NO_CERTIFICATE}"]),
    ("[echo]\nlisten = tls6:0\n", [f"FILE:2: [echo]: {NO_CERTIFICATE}"]),
    ("[echo]\nlisten = haproxy:tls:0\nproxy_from = 127.0.0.1\n",
     [f"FILE:2: [echo]: {NO_CERTIFICATE}"]),
    ("[echo]\nlisten = systemd:a:tls=yes\n", [f"FILE:2: [echo]: {NO_CERTIFICATE}"]),
    ("[echo]\nlisten = tls:8\ntls_certificate = a.pem\n", []),
    # One complaint is enough of a certificate that is given wrong.
    ("[echo]\nlisten = tls:8\ntls_certificate =\n",
     ["FILE:3: [echo] tls_certificate =: is not a path; write that of a PEM file"]),
    ("[defaults]\ntls_certificate = a.pem\n[echo]\nlisten = tls:8\n", []),
    # Options for TLS and a listener that speaks it.
    ("[echo]\nlisten = tcp:8\ntls_key = a\ntls_certificate = a\nhandshake_timeout = 1s\n",
     [f"FILE:3: [echo] tls_key: {NO_TLS}",
      f"FILE:4: [echo] tls_certificate: {NO_TLS}",
      f"FILE:5: [echo] handshake_timeout: {NO_TLS}"]),
    ("[echo]\nlisten = tcp:7, tls6:8\ntls_certificate = a\ntls_minimum = 1.3\n", []),
    ("[defaults]\ntls_minimum = 1.3\n[echo]\nlisten = tcp:7\n", []),
    ("[echo]\nlisten = haproxy:tcp:7\nproxy_from = any\nhandshake_timeout = 1s\n"
     "tls_minimum = 1.3\n",
     [f"FILE:5: [echo] tls_minimum: {NO_TLS}"]),
    # A listener that could not be read may have spoken it.
    ("[echo]\nlisten = tsl:8\ntls_certificate = a.pem\n",
     ["FILE:2: [echo] listen = tsl:8: has the unknown kind tsl:; write tls:8"]),
    # A PROXY header and who may send one.
    ("[echo]\nlisten = tcp:7, haproxy:tcp:8\n", [f"FILE:2: [echo]: {NO_PROXY}"]),
    ("[echo]\nlisten = haproxy:unix:/run/x\n", [f"FILE:2: [echo]: {NO_PROXY}"]),
    ("[echo]\nlisten = haproxy:systemd:a\n", [f"FILE:2: [echo]: {NO_PROXY}"]),
    ("[echo]\nlisten = haproxy:tcp:8\nproxy_from = loopback\n", []),
    ("[defaults]\nproxy_from = loopback\n[echo]\nlisten = haproxy:tcp:8\n", []),
    ("[echo]\nlisten = haproxy:tcp:8\nproxy_from = here\n",
     ["FILE:3: [echo] proxy_from = here: has here, which is not a network;"
      " known are any, loopback, private"]),
    # HTTP and a place for it.
    ("[socketd]\ndrain_timeout = 1s\nhttp = udp:9155\n[echo]\nlisten = tcp:7\n",
     ["FILE:3: [socketd] http = udp:9155: is not a listener for HTTP;"
      " write tcp:PORT[:interface=A], tcp6: or unix:PATH"]),
]  # fmt: skip

#: Everything wrong at once, and in which order it is said.
ALL_WRONG = """\
stray
[socketd]
drain_timeout = soon
[defaults]
tcp_keepcnt = 0
nonsense = 1
[echo]
listen = tcp:7
listen = tcp:0x8
log_messages = yes
[nope]
[stream]
listen = udp:7
so_linger = 7s
[echo]
listen = tcp:9
garbage
"""
ALL_WRONG_LINES = [1, 3, 5, 6, 9, 9, 10, 11, 13, 14, 15, 17]


class DiagnosticTableTests(SynchronousTestCase):
    """Tests for the words of each diagnostic."""

    def test_table(self) -> None:
        """
        Each mistake is named with its line, its section, its option and its
        value, with what is wrong and what would be right.
        """
        self.maxDiff = None
        self.assertEqual([(text, diagnostics(text)) for text, _ in TABLE], TABLE)

    def test_together(self) -> None:
        """What makes no sense without something else is named with what is missing."""
        self.maxDiff = None
        self.assertEqual([(text, diagnostics(text)) for text, _ in TOGETHER], TOGETHER)

    def test_all_at_once(self) -> None:
        """All mistakes are named in one run, each once, in the order of the file."""
        error = self.assertRaises(SettingsError, parse, ALL_WRONG, "FILE", PROTOCOLS, RUNTIME)
        self.assertEqual([found.line for found in error.diagnostics], ALL_WRONG_LINES)

    def test_broken_and_nothing_else(self) -> None:
        """A file whose sections could not be read is not told to have none."""
        found = diagnostics("broken\n")
        expected = "FILE:1: is before the first [section]; write such as [echo] above it"
        self.assertEqual(found, [expected])

    def test_too_many_broken_lines(self) -> None:
        """The end of a broken file is not blamed for what was not read."""
        found = diagnostics("broken\n" * 60)
        self.assertEqual(len(found), 51)
        self.assertIn("FILE: too many broken lines; the rest was not read", found)


class NameTests(SynchronousTestCase):
    """Tests for the names of services."""

    def test_good(self) -> None:
        """A name is made of letters, digits, dots, underscores and hyphens."""
        for name in ("a", "7", "Echo-2.b_c", "x" * 32):
            text = f"[{name}]\nprotocol = echo\nlisten = tcp:7\n"
            self.assertEqual(diagnostics(text), [], name)

    def test_bad(self) -> None:
        """Other names would need quotes in logs, tables and metrics."""
        for name in ("x" * 33, "-a", ".a", "_a", "a b", "ä", "a/b", "a:b", "a[", " a", "a\u202e"):
            text = f"[{name}]\nprotocol = echo\nlisten = tcp:7\n"
            found = diagnostics(text)
            self.assertEqual(len(found), 1, name)
            expected = "is not a service name; use up to 32 letters, digits and . _ -"
            self.assertIn(expected, found[0])


class ImportTests(SynchronousTestCase):
    """Tests for protocols that are installed but broken."""

    def test_named(self) -> None:
        """One that a service speaks is complained of, wherever it is named."""
        message = "cannot be imported: no module named crypt"
        text = "[broken]\nlisten = tcp:7\n[a]\nprotocol = broken\nlisten = tcp:8\n"
        self.assertEqual(
            diagnostics(text, Importing()),
            [f"FILE:1: [broken]: {message}", f"FILE:4: [a] protocol = broken: {message}"],
        )

    def test_not_named(self) -> None:
        """One that no service speaks is not reported."""
        self.assertEqual(diagnostics("[echo]\nlisten = tcp:7\n", Importing()), [])


class TrialTests(SynchronousTestCase):
    """Tests for what the machine refuses, as the caller's trial finds it."""

    def validate(self, settings: Settings) -> Iterator[Diagnostic]:
        """Refuse one option to every service."""
        for service in settings.services:
            self.tried.append(service.name)
            if "so_dontroute" in service.lines:
                yield service.complaint("so_dontroute", "this system refuses it")

    def diagnostics(self, text: str) -> list[str]:
        """Read a configuration with the trial."""
        self.tried: list[str] = []
        read = (parse, text, "FILE", PROTOCOLS, RUNTIME, self.validate)
        return str(self.assertRaises(SettingsError, *read)).split("\n")

    def test_refused(self) -> None:
        """A refused option is complained of at its line, among the other complaints."""
        text = "[echo]\nlisten = tcp:7\nso_dontroute = yes\nso_keepalive = x\n"
        expected = [
            "FILE:3: [echo] so_dontroute: this system refuses it",
            "FILE:4: [echo] so_keepalive = x: is neither yes nor no",
        ]
        self.assertEqual(self.diagnostics(text), expected)

    def test_inherited(self) -> None:
        """One that was inherited is complained of once, where it stands."""
        text = "[echo]\nlisten = tcp:7\n[stream]\nlisten = tcp:8\n[defaults]\nso_dontroute = no\n"
        expected = ["FILE:6: [defaults] so_dontroute: this system refuses it"]
        self.assertEqual(self.diagnostics(text), expected)
        self.assertEqual(self.tried, ["echo", "stream"])

    def test_disabled(self) -> None:
        """A disabled service is not tried out: it may be meant for another machine."""
        text = "[echo]\nlisten = tcp:7\nenabled = no\nso_dontroute = no\n[stream]\nlisten = x\n"
        self.diagnostics(text)
        self.assertEqual(self.tried, ["stream"])
