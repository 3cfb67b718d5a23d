"""Tests of docs/FAULTS.md against the code; L{tests.interop.with_faults} shows its ports."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import installed
from socketd.settings.faults.profile import DATAGRAM_ONLY, ENDS, SENDING
from socketd.settings.faults.values import ACCEPT
from socketd.settings.load import parse
from tests.support.faults_ini import TEXT
from tests.support.pages import blocks, chapter
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "FAULTS.md").read_text()


class PageTests(SynchronousTestCase):
    """docs/FAULTS.md holds."""

    def test_faults(self) -> None:
        """Its table has every fault and every action, and those that a stream cannot have."""
        text = chapter(PAGE, "What the peer sees")
        rows = dict(re.findall(r"^\| `([\w =-]+)` \| (.*?) \|", text, re.MULTILINE))
        actions = [f"accept = {word.split()[0]}" for word in ACCEPT.syntax.split(" | ")]
        self.assertEqual(list(rows), [*SENDING, *actions, *ENDS, *DATAGRAM_ONLY])
        refused = [name for name, seen in rows.items() if seen.startswith("refused")]
        self.assertEqual(refused, list(DATAGRAM_ONLY))

    def test_ports(self) -> None:
        """Its table of ports is that of etc/faults.ini, with the service that is a comment."""
        text = chapter(PAGE, "A port for each: etc/faults.ini")
        rows = re.findall(r"^\| ([A-Z, ]+) (\d+) \| `([\w-]+)`", text, re.MULTILINE)
        listed = {(name, kinds.lower(), port) for kinds, port, name in rows}
        sections = re.findall(r"^(?:; )?\[([\w-]+)\]\n((?:(?:; )?\w+ =.*\n)+)", TEXT, re.MULTILINE)
        there = set()
        for name, body in sections:
            if found := re.findall(r"\b(tcp|tls|udp):(\d+)", body):
                there.add((name, ", ".join(kind for kind, _ in found), found[0][1]))
        self.assertEqual(listed, there)
        self.assertEqual(len(rows), len(listed))

    def test_configurations(self) -> None:
        """The configuration that it shows can be used, and so can the values in its tables."""
        (text,) = (block.text for block in blocks(PAGE) if block.language == "ini")
        parse(text, "x.ini", installed(), "/run")
        service = "[echo]\nlisten = tcp:7, udp:7\nfault = x\n[fault:x]\n"
        text = chapter(PAGE, "Beside toxiproxy and netem")
        rows = re.findall(r"^\| .*? \| (`.*?`) \|", text, re.MULTILINE)
        shown = [re.findall(r"`(\S+ = [^`]*)`", row) for row in rows]
        self.assertGreater(len(shown), 12)
        for options in filter(None, shown):
            parse(service + "\n".join(options), "x.ini", installed(), "/run")
