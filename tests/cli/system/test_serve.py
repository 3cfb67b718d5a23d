"""Tests for L{socketd.cli.system.serve} and L{socketd.cli.system.serve_arguments}."""

from __future__ import annotations

import os
import signal

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system import serve
from socketd.cli.system.run import obey_sigterm
from socketd.cli.system.serve_arguments import configure_arguments
from socketd.common.errors import BAD_CONFIGURATION, GOOD, USAGE, Terminated
from socketd.settings.diagnostics import SettingsError
from socketd.settings.faults.profile import FaultOptions
from socketd.settings.faults.values import Latency, Loss
from socketd.settings.model import ServiceSettings
from tests.support.certificates import issued
from tests.support.command_line import run_main

#: The directory for UNIX sockets.
RUNTIME = "/run/test"

#: Arguments, and all that is said of them.
COMPLAINTS: dict[tuple[str, ...], list[str]] = {
    ("ehco", "tcp:7"): ["ehco: is not a protocol; did you mean echo?"],
    ("echo", "tcp:70000", "7007", "upd:1"): [
        "tcp:70000: has the port 70000; a port is a number from 0 to 65535",
        "7007: is not a listener; write tcp:7007 or udp:7007",
        "upd:1: has the unknown kind upd:; write udp:1",
    ],
    ("echo", "so_keepalive=yes"): ["LISTENER: is empty; write tcp:PORT or udp:PORT"],
    ("echo", "tcp:7", "tcp:7:interface=127.0.0.1"): [
        "tcp 127.0.0.1:7: is taken already, by [echo]"
    ],
    ("reply", "tcp:7"): [
        "reply: has no reply and no rules; write reply=TEXT, or rules=PATTERN -> ANSWER"
    ],
    ("reply", "tcp:7", 'rules="a" -> "b"\n foo -> "c"'): [
        r'rules="a" -> "b"\n foo -> "c":2:2: foo is no pattern; write "TEXT", prefix, contains,'
        " /REGEX/, hex, every 3rd, idle 10s or *"
    ],
    ("reply", "tcp:7", r"reply=a\q", "close=maybe"): [
        r"reply=a\q: has the unknown escape \q; known are \n \r \t \xNN and \\",
        "close=maybe: is neither yes nor no",
    ],
    ("echo", "tcp:7", "so_keepaliv=yes"): [
        "so_keepaliv=yes: is not an option here; did you mean so_keepalive?"
    ],
    ("echo", "tcp:7", "texts=x"): ["texts=x: is not an option here; qotd has it"],
    ("echo", "tcp:7", "latency=1s"): ["latency=1s: is not an option here; write fault.latency=1s"],
    ("echo", "tcp:7", "log_levl=debug", "log_level=x"): [
        "log_levl=debug: is not an option here; did you mean log_level?",
        "log_level=x: is not known; write debug or info or warn or error",
    ],
    ("echo", "tcp:7", "enabled=yes", "enabled=no"): ["enabled=no: is given twice; keep one"],
    ("echo", "tcp:7", "listen=udp:7"): [
        "listen=udp:7: is beside listeners; write each as an argument of its own"
    ],
    ("echo", "tcp:7", "protocol=upper"): ["protocol=upper: is given twice; keep one"],
    ("echo", "tls:7"): [
        "tls:7: has a listener for TLS, and no certificate; write tls_certificate=PATH"
    ],
    ("echo", "tcp:7", "allow=\udcff"): [
        r"allow=\udcff: is not UTF-8 text; write other bytes as \xNN"
    ],
    ("echo", "tcp:7", "fault.latensy=1s", "fault.share=x"): [
        "fault.latensy=1s: is not an option here; did you mean fault.latency?",
        "fault.share=x: is not a share; write 0% to 100%, such as 0.1%",
    ],
    ("echo", "tcp:7", "fault.latency=1s", "fault=other"): [
        "fault=other: is not a profile of this file; known are serve"
    ],
    ("echo", "tcp:7", "fault.latency=1s", "fault.loss=5%", "fault.corrupt=1%"): [
        "fault.loss=5%: has loss and corrupt, for datagrams only (a stream would be corrupted, not"
        " lossy), which no listener here takes; write udp:PORT"
    ],
    ("echo", "udp:7", "fault.accept=refuse"): [
        "fault.accept=refuse: has accept=refuse, for streams only, which no listener here takes;"
        " write tcp:PORT"
    ],
    ("echo", "tcp:7", "fault.lossy=5%"): [
        "fault.lossy=5%: is not an option here; did you mean fault.loss?"
    ],
    ("ntp", "tcp:7"): [
        "tcp:7: is a stream listener, which the protocol does not have; write udp:"
    ],
}


def service_of(*words: str) -> ServiceSettings:
    """Configure the service of a command line."""
    (service,) = configure_arguments(words, RUNTIME).settings.services
    return service


class ArgumentTests(SynchronousTestCase):
    """Tests for L{configure_arguments}."""

    def test_loopback(self) -> None:
        """Each listener is on loopback, but for one that names an interface."""
        service = service_of(
            "echo", "tcp:0", "udp:7", "tcp6:0", "udp6:7", "unix:{runtime}/e",
            "tcp:8:interface=0.0.0.0",
        )  # fmt: skip
        self.assertEqual(service.name, "echo")
        self.assertEqual(
            list(map(str, service.listeners)),
            ["tcp 127.0.0.1:0", "udp 127.0.0.1:7", "tcp6 [::1]:0", "udp6 [::1]:7",
             f"unix {RUNTIME}/e", "tcp 0.0.0.0:8"],
        )  # fmt: skip

    def test_proxied(self) -> None:
        """So is one behind a balancer; sockets of systemd are where it has bound them."""
        words = ("echo", "haproxy:tcp:7", "systemd:echo", "proxy_from=127.0.0.1")
        self.assertEqual(
            list(map(str, service_of(*words).listeners)), ["tcp 127.0.0.1:7", "systemd echo"]
        )

    def test_tls(self) -> None:
        """So is one for TLS."""
        made = issued("localhost")
        path = made.write(self.mktemp())
        words = ("echo", "tls:7", f"tls_certificate={path}", f"tls_key={path}")
        self.assertEqual(list(map(str, service_of(*words).listeners)), ["tls 127.0.0.1:7"])

    def test_options(self) -> None:
        """
        Options may stand anywhere, and are of the service, its protocol or the daemon; a value is
        taken as it is, where a file would end it.
        """
        words = ("reply", "close=yes", "tcp:7", r"reply= a ; b=c \n", "max_connections=5")
        settings = configure_arguments((*words, "drain_timeout=1s"), RUNTIME).settings
        (service,) = settings.services
        self.assertEqual((service.options.reply, service.options.close), (b" a ; b=c \n", True))
        self.assertEqual(service.policy.max_connections, 5)
        self.assertEqual((settings.daemon.drain_timeout, settings.http), (1.0, None))

    def test_own_listeners(self) -> None:
        """The listeners of the daemon itself can be given."""
        words = ("echo", "tcp:7", "http=tcp:9155", "control={runtime}/control.sock")
        settings = configure_arguments(words, RUNTIME).settings
        self.assertEqual(str(settings.http), "tcp 127.0.0.1:9155")
        self.assertEqual(str(settings.control), f"unix {RUNTIME}/control.sock")

    def test_listen(self) -> None:
        """A listener can be written as in a file, too."""
        listeners = service_of("echo", "listen=tcp:7, udp:7").listeners
        self.assertEqual(list(map(str, listeners)), ["tcp 127.0.0.1:7", "udp 127.0.0.1:7"])

    def test_faults(self) -> None:
        """The options of a fault profile make one, which the service has."""
        words = ("echo", "tcp:7", "udp:7", "fault.latency=50ms", "fault.loss=5%")
        settings = configure_arguments(words, RUNTIME).settings
        profile = settings.faults[settings.services[0].common.fault]
        self.assertEqual(profile.options, FaultOptions(latency=Latency(0.05), loss=Loss(0.05)))

    def test_complaints(self) -> None:
        """Each error names its argument and says what to write, and all are there at once."""
        for words, expected in COMPLAINTS.items():
            problem = self.assertRaises(SettingsError, configure_arguments, words, RUNTIME)
            self.assertEqual(sorted(str(problem).splitlines()), sorted(expected), words)

    def test_long(self) -> None:
        """A long argument is shown in part."""
        words = ("echo", "tcp:7", f"allow={'x' * 100}")
        problem = self.assertRaises(SettingsError, configure_arguments, words, RUNTIME)
        self.assertRegex(str(problem), r"^allow=x{54}\.\.\.: ")


class CommandTests(SynchronousTestCase):
    """Tests for C{socketd serve}, as far as it does not serve."""

    def test_bad(self) -> None:
        """Errors are lines on standard error, and the status is that of a bad configuration."""
        status, out, errors = run_main("serve", "echo", "tcp:x", "a=b")
        self.assertEqual((status, out), (BAD_CONFIGURATION, ""))
        names = [line.split(": ")[:2] for line in errors.splitlines()]
        self.assertEqual(names, [["socketd serve", "tcp:x"], ["socketd serve", "a=b"]])

    def test_usage(self) -> None:
        """A protocol and a listener are needed; an unknown flag gets the nearest one."""
        status, _, errors = run_main("serve", "echo")
        self.assertEqual(status, USAGE)
        self.assertIn("arguments are required: LISTENER; see", errors)
        status, _, errors = run_main("serve", "echo", "tcp:0", "--jsn")
        self.assertEqual(status, USAGE)
        self.assertIn("unknown option: --jsn (--json?)", errors)

    def test_help(self) -> None:
        """The help has examples and the protocols."""
        status, out, _ = run_main("serve", "--help")
        self.assertEqual(status, GOOD)
        self.assertIn("socketd serve echo tcp:7007 udp:7007\n", out)
        self.assertRegex(out, r"protocols: ack, .*echo, ")

    def test_help_of_protocol(self) -> None:
        """With a protocol it has the options of that protocol."""
        _, out, _ = run_main("serve", "reply", "--help")
        self.assertRegex(out, r"OPTIONS OF reply *\n.*")
        self.assertRegex(out, r"(?m)^close=yes \| no +Whether to close after the first answer\.$")
        self.patch(serve, "declared", lambda options: {})
        _, out, _ = run_main("serve", "discard", "-h")
        self.assertNotIn("OPTIONS OF", out)

    def test_examples(self) -> None:
        """Each of its examples can be used."""
        _, out, _ = run_main("serve", "--help")
        examples = [line.split()[2:] for line in out.splitlines() if line[:9] == "  socketd"]
        self.assertGreater(len(examples), 4)
        for words in examples:
            given = [word.replace("'", "") for word in words if not word.startswith("--")]
            self.assertTrue(service_of(*given).listeners)


class SigtermTests(SynchronousTestCase):
    """Tests for L{obey_sigterm}."""

    def setUp(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)

    def test_first_process(self) -> None:
        """The first process of a container ends at a SIGTERM that comes during the start."""
        self.patch(os, "getpid", lambda: 1)
        obey_sigterm()
        self.assertRaises(Terminated, signal.raise_signal, signal.SIGTERM)

    def test_other(self) -> None:
        """Any other process keeps the default action."""
        before = signal.getsignal(signal.SIGTERM)
        obey_sigterm()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
