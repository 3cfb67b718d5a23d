"""Tests for L{socketd.cli.system.check}."""

from __future__ import annotations

import json
import resource
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import main
from socketd.common.errors import BAD_CONFIGURATION
from socketd.net.sockets.rlimit import RESERVED
from tests.support.certificates import issued
from tests.support.command_line import run_main


#: The hint on a service whose replies need long datagrams.
HINT = (
    "answers over UDP only datagrams of {} bytes or more, because the sender of a shorter one may"
    " be forged"
)
WAY_OUT = "; udp_amplify = {} answers all"


class CheckCase(SynchronousTestCase):
    """Checks a file."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()

    def check(self, text: str, *arguments: str) -> tuple[int, str, str]:
        """Return the exit status, standard output and standard error without the file's path."""
        self.file.write_text(text)
        status, out, errors = run_main("check", self.file, *arguments)
        return status, out.replace(str(self.file), "FILE"), errors.replace(str(self.file), "FILE")


class CheckTests(CheckCase):
    """Tests for errors and warnings."""

    def test_good(self) -> None:
        """A good file is shown as a table."""
        table = "SERVICE  PROTOCOL  LISTENERS\necho     echo      tcp *:7007\n"
        expected = (0, f"{table}FILE: configuration OK\n", "")
        self.assertEqual(self.check("[echo]\nlisten = tcp:7007\n"), expected)

    def test_conflict(self) -> None:
        """What could not be bound beside each other is found without binding it."""
        text = "[socketd]\nhttp = tcp:7\n[echo]\nlisten = tcp:7\n"
        message = "is taken already, by tcp *:7 of [echo]; tcp *:7 is every address"
        expected = f"FILE:2: [socketd] http = tcp 127.0.0.1:7: {message}\n"
        self.assertEqual(self.check(text), (BAD_CONFIGURATION, "", expected))
        status, out, _ = self.check(text, "--json")
        self.assertEqual((status, json.loads(out)["complaints"][0]["message"]), (78, message))

    def test_descriptors(self) -> None:
        """So are more connections than the start would have descriptors for."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        hard = RESERVED + 500
        self.patch(resource, "getrlimit", lambda kind: (min(before[0], hard), hard))
        status, _, errors = self.check("[echo]\nlisten = tcp:7\nmax_connections = 500\n")
        self.assertEqual(status, BAD_CONFIGURATION)
        self.assertIn("FILE:3: [echo] max_connections = 500: needs more descriptors", errors)
        self.assertIn("write up to 499,", errors)

    def test_warnings(self) -> None:
        """What only the start can know is said, and is no reason to refuse the file."""
        here = self.mktemp()
        text = f"[echo]\nlisten = systemd:web, unix:/nowhere/a, unix:{{runtime}}/b, unix:{here}\n"
        status, out, errors = self.check(text)
        self.assertEqual((status, out.splitlines()[-1]), (0, "FILE: configuration OK"))
        expected = (
            "warning: FILE:2: [echo] listen = systemd web: needs a socket unit with"
            " FileDescriptorName=web, or cannot start\n"
            "warning: FILE:2: [echo] listen = unix /nowhere/a: needs the directory /nowhere,"
            " which is not there\n"
        )
        self.assertEqual(errors, expected)
        own = "[socketd]\nhttp = unix:/nowhere/h\ncontrol = /nowhere/c\n"
        own += "[echo]\nlisten = tcp:7007\n"
        needs = "needs the directory /nowhere, which is not there"
        expected = f"warning: FILE:2: [socketd] http = unix /nowhere/h: {needs}\n"
        self.assertEqual(self.check(own)[2], expected)
        status, out, _ = self.check(text, "--json")
        found = json.loads(out)
        self.assertTrue(found["ok"])
        values = [warning["value"] for warning in found["warnings"]]
        self.assertEqual(values, ["systemd web", "unix /nowhere/a"])

    def test_closed_standard_error(self) -> None:
        """Where nothing takes warnings, they do not go into the JSON of standard output."""
        self.file.write_text("[echo]\nlisten = systemd:web\n")
        with redirect_stdout(StringIO()) as out, redirect_stderr(None):
            self.assertEqual(main(["check", str(self.file), "--json"]), 0)
        self.assertEqual(len(json.loads(out.getvalue())["warnings"]), 1)


class HintTests(CheckCase):
    """Tests for hints: a configuration is valid, and may not be what was meant."""

    def setUp(self) -> None:
        super().setUp()
        self.quotes = self.file.with_name("quotes")
        self.quotes.write_text("A longer quote.\n%\nNo.\n")

    def hints(self, *lines: str) -> tuple[str, list[str]]:
        """Check a configuration that is valid, and return the output and the hints."""
        text = "\n".join(lines).format(quotes=self.quotes) + "\n"
        status, out, errors = self.check(text)
        self.assertEqual(status, 0)
        return out, errors.splitlines()

    def test_long_answers(self) -> None:
        """Where short datagrams get no reply, a hint names the option that changes it."""
        cases = [
            (["[daytime]", "listen = udp:9013"], 2, "daytime", 26),
            (["[daytime]", "format = iso", "listen = tcp:9013, udp6:9013"], 3, "daytime", 22),
            (["[qotd]", "texts = {quotes}", "listen = udp:9017"], 3, "qotd", 5),
            (["[reply]", "reply = hello", "", "listen = udp:9001"], 4, "reply", 5),
            (["[reply]", "reply = hello", "udp_amplify = 4", "listen = udp:9001"], 4, "reply", 5),
        ]
        for lines, line, service, size in cases:
            output, hints = self.hints(*lines)
            message = (HINT + WAY_OUT).format(size, size)
            self.assertEqual(hints, [f"hint: FILE:{line}: [{service}] listen: {message}"])
            self.assertIn("configuration OK", output)

    def test_longer_than_allowed(self) -> None:
        """An answer that is longer than any datagram may be amplified to has no way out."""
        _, hints = self.hints("[reply]", f"reply = {'x' * 513}", "listen = udp:9001")
        message = HINT.format(513)
        self.assertEqual(hints, [f"hint: FILE:3: [reply] listen: {message}"])

    def nts_hints(self, *lines: str, listen: str = "tls:4460", nts: str = "nts-ke") -> list[str]:
        """Check C{nts-ke} with these lines, and an C{ntp} service at port 4123 that uses it."""
        pem = issued("localhost").write(str(Path(self.mktemp()).absolute()))
        ke = ["[nts-ke]", f"tls_certificate = {pem}", *lines, f"listen = {listen}"]
        ntp = ["[ntp]", "listen = udp:4123"] + ([f"nts = {nts}"] if nts else [])
        return self.hints(*ke, *ntp)[1]

    def test_nts(self) -> None:
        """Clients of NTS are sent to where their cookies are taken, or a hint says what to do."""
        begin = "hint: FILE:{}: [nts-ke] {}: sends the clients of {} to UDP port {} of the address"
        begin += " that they have asked, where no service takes their cookies; {}"
        port, there = "write ntp_port = 4123", "have an ntp service with nts listen there, or"
        there += " write ntp_server"
        tls, both = "tls *:4460", "tls:4460, tls6:4460"
        for lines, more, expected in (
            ([], {}, [begin.format(3, "listen", tls, 123, port)]),
            (["ntp_port = 5123"], {}, [begin.format(3, "ntp_port", tls, 5123, port)]),
            ([], {"nts": ""}, [begin.format(3, "listen", tls, 123, there)]),
            (["ntp_port = 4123"], {}, []),
            (["ntp_server = ntp.example.org"], {}, []),
            (["ntp_port = 4123"], {"listen": both},
             [begin.format(3, "ntp_port", "tls6 *:4460", 4123, there)]),
            (["ntp_port = 4123"], {"listen": "tls:4460:interface=127.0.0.1"}, []),
        ):  # fmt: skip
            self.assertEqual(self.nts_hints(*lines, **more), expected)

    def test_none(self) -> None:
        """There is no hint where short datagrams are answered, or the sender is known."""
        for lines in (
            ["[daytime]", "listen = tcp:9013, unixgram:{{runtime}}/d"],
            ["[daytime]", "listen = udp:9013", "udp_amplify = 26"],
            ["[qotd]", "texts = {quotes}", "listen = udp:9017", "udp_amplify = 5"],
            ["[echo]", "listen = udp:9007", "[time]", "listen = udp:9037"],
            ["[ntp]", "listen = udp:9123"],
            ["[upper]", "listen = udp:9001", "[chargen]", "listen = udp:9019"],
        ):
            self.assertEqual(self.hints(*lines)[1], [], lines)

    def test_json(self) -> None:
        """Programs find the hints, too."""
        _, output, _ = self.check("[daytime]\nlisten = udp:9013\n", "--json")
        found = json.loads(output)
        (hint,) = found["hints"]
        self.assertEqual((found["ok"], found["warnings"]), (True, []))
        self.assertEqual((hint["section"], hint["option"], hint["line"]), ("daytime", "listen", 2))
