"""The status page in headless Chromium: what it shows, and that no other site can use it."""

from __future__ import annotations

import http.client
import json
import signal
from socketd.web.live import MAX_VIEWERS
from tests.interop.page_case import OPERATORS, StatusPageCase
from tests.support.polling import DEADLINE, wait_until
from tests.support.sockets import exchange, read_exactly, read_to_end

#: What would show if a page took it for more than text.
EVIL = b"</p><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

#: The roles of what is pressed, chosen or typed into.
NAMED = {"button", "checkbox", "combobox", "link", "searchbox", "textbox"}


class ShowingTests(StatusPageCase):
    """Tests for what may be seen without the token."""

    def test_charts(self) -> None:
        """Charts move under load, for all and for one service, and a late page has the past."""
        tab = self.open()
        self.assertEqual(tab.text("#rights"), "read only")
        tab.wait_for("document.querySelectorAll('figure path').length >= 5")
        client = self.client("echo")
        messages = "[...document.querySelectorAll('figure')].find((f) => "
        messages += "f.textContent.startsWith('Messages')).querySelector('svg').ariaLabel"

        def moving() -> bool:
            exchange(client, b"x" * 100)
            return tab.holds(f"!({messages}).endsWith('at most 0')")

        wait_until(moving, "the chart stays")
        tab.wait_for("document.querySelector('#services td')?.textContent === 'echo'")
        late = self.open()
        late.run("document.getElementById('service').value = 'echo'")
        late.run("document.getElementById('service').dispatchEvent(new Event('change'))")
        late.wait_for(f"!({messages}).endsWith('at most 0')")
        self.assertEqual(self.browser.trouble, [])

    def test_connections(self) -> None:
        """Connections are listed, filtered, sorted and shown, with what they say from then on."""
        self.client("ack", b"first")
        client = self.client("echo", b"hello")
        read_exactly(client, 5)
        tab = self.open()
        self.show(tab, "connections")
        rows = "document.querySelectorAll('#table tbody tr')"
        tab.wait_for(f"{rows}.length === 2")
        tab.click("#table th:first-child button")
        tab.wait_for(f"{rows}[0].cells[0].textContent === '2'")
        tab.type("#filter", "echo")
        tab.wait_for(f"{rows}.length === 1")
        tab.click("#table tbody a")
        tab.wait_for("document.getElementById('facts').textContent.includes('127.0.0.1')")

        def said() -> bool:
            exchange(client, EVIL)
            return "</script>" in tab.text("#messages")

        wait_until(said, "no message is shown")
        self.assertFalse(tab.holds("document.querySelector('#messages img')"))
        disabled = "[...document.querySelectorAll('#actions button, #reply button')]"
        self.assertTrue(tab.holds(f"{disabled}.every((one) => one.disabled)"))
        self.assertEqual(self.browser.trouble, [])

    def test_everywhere(self) -> None:
        """It fits a phone, is dark where that is preferred, and each control has a name."""
        self.client("ack", b"x" * 500)
        wide = self.open()
        phone = self.open(width=360, height=700, prefers_color_scheme="dark")
        colours = []
        for tab in (wide, phone):
            colours.append(tab.run("getComputedStyle(document.body).backgroundColor"))
            for view in ("overview", "connections", "queue", "events", "control"):
                self.show(tab, view)
                root = "document.documentElement"
                self.assertTrue(tab.holds(f"{root}.scrollWidth <= {root}.clientWidth"), view)
                tree = tab.call("Accessibility.getFullAXTree")["nodes"]
                nameless = [
                    node["role"]["value"]
                    for node in tree
                    if not node["ignored"] and node["role"]["value"] in NAMED
                    if not node.get("name", {}).get("value")
                ]
                self.assertEqual(nameless, [], view)
        self.assertEqual(colours, ["rgb(255, 255, 255)", "rgb(18, 23, 30)"])

    def test_reload(self) -> None:
        """After a reload the page has the new services."""
        tab = self.open()
        services = "[...document.getElementById('service').options].map((o) => o.value).join()"
        self.assertEqual(tab.run(services), ",echo,ack")
        more = "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.write("socketd.ini", self.ini.format(directory=self.directory) + more)
        self.running.signal(signal.SIGHUP)
        tab.wait_for(f"{services} === ',echo,ack,upper'")

    def test_daemon_goes(self) -> None:
        """When the daemon has gone, the page says so."""
        tab = self.open()
        self.stack.close()
        tab.wait_for("document.getElementById('state').textContent.startsWith('not connected')")


class OperatorTests(StatusPageCase):
    """Tests for what an operator does."""

    def test_answer(self) -> None:
        """
        A waiting connection is answered with the keyboard, and its client gets the bytes; the
        other operator sees both who is there and what was said.
        """
        first = self.operator()
        client = self.client("ack", EVIL)
        second = self.operator("bert")
        for name in ("anna", "bert"):
            for tab in (first, second):
                tab.wait_for(f"{OPERATORS}.includes('{name}')")
        self.show(first, "queue")
        first.wait_for("document.querySelector('#questions input')")
        self.assertEqual(first.text(".said"), EVIL.decode())
        self.assertIn("input the word:", first.text("#questions"))
        first.type("#questions input", "grüße <b>")
        first.press("Enter", 13)
        expected = EVIL + b"\nI get it!\n" + "grüße <b>".encode()
        self.assertEqual(read_exactly(client, len(expected)), expected)
        for tab in (first, second):
            tab.wait_for("document.getElementById('waiting').textContent === '0'")
            tab.wait_for("document.getElementById('log').textContent.includes('grüße <b>')")
            self.assertFalse(tab.holds("document.querySelector('img, b:not(#waiting)')"))
            self.assertEqual(tab.run("document.title").split()[0], "socketd")
        self.running.output.wait_for(r"operator anna at [\d.:]+ to 127\.0\.0\.1:\d+ \(ack")
        self.assertEqual(self.browser.trouble, [])

    def test_ends(self) -> None:
        """Connections are half-closed and reset, each by its button, and sources banned."""
        tab = self.operator()
        self.show(tab, "queue")
        half, reset = self.client("ack", b"one"), self.client("ack", b"two")
        tab.wait_for("document.querySelectorAll('#questions li').length === 2")
        press = "document.querySelectorAll('#questions li')[{}].querySelectorAll('button')[{}]"
        tab.run(press.format(0, 1) + ".click()")
        self.assertEqual(read_to_end(half), b"one\nI get it!\n")
        tab.run(press.format(1, 3) + ".click()")
        with self.assertRaises(ConnectionResetError):
            while reset.recv(100):
                pass
        self.show(tab, "control")
        tab.type("#ban-source", "192.0.2.7")
        tab.click("#ban button")
        tab.wait_for("document.getElementById('bans').textContent.includes('192.0.2.7')")
        tab.click("#bans tbody button")
        tab.wait_for("!document.getElementById('bans').textContent.includes('192.0.2.7')")
        self.running.output.wait_for(r"operator anna at 127\.0\.0\.1:\d+: unban 192\.0\.2\.7/32$")

    def test_faults(self) -> None:
        """A fault profile is switched on and off."""
        tab = self.operator()
        self.show(tab, "control")
        tab.wait_for("document.getElementById('profiles').childElementCount === 1")
        tab.type("#fault-profile", "slow")
        tab.click("#fault button[value=on]")
        row = "document.querySelector('#faults tbody tr').cells[1].textContent"
        tab.wait_for(f"{row} === 'echo'")
        tab.click("#fault button[value=off]")
        tab.wait_for(f"{row} === ''")


class RefusedTests(StatusPageCase):
    """Tests for who may not."""

    def test_wrong_host(self) -> None:
        """By a name that another site lets point here, a browser gets nothing (rebinding)."""
        port = self.origin.rpartition(":")[2]
        tab = self.browser.open(f"http://evil.example:{port}/")
        tab.wait_for("document.body?.textContent.includes('http_names')")
        found = tab.run("fetch('/history').then((r) => r.status)")
        self.assertEqual(found, 403)

    def test_no_token(self) -> None:
        """Without the token the page's own requests change nothing, and nothing can be pressed."""
        client = self.client("ack")
        tab = self.open()
        body = json.dumps({"command": "reset", "id": 1})
        headers = {"Content-Type": "application/json"}
        options = json.dumps({"method": "POST", "body": body, "headers": headers})
        self.assertEqual(tab.run(f"fetch('command', {options}).then((r) => r.status)"), 403)
        self.assertEqual(exchange(client, b"hello"), b"hello")

    def test_other_site(self) -> None:
        """A page of another site can neither read, nor change, nor take a viewer's place."""
        tab = self.browser.open("about:blank")
        for mode in ("cors", "no-cors"):
            for path in ("events", "history", "command"):
                options = {"mode": mode, "method": "POST" if path == "command" else "GET"}
                script = f"fetch('{self.origin}/{path}', {json.dumps(options)})"
                script += ".then((r) => r.text(), () => '')"
                self.assertEqual(tab.run(script), "")
        frame = "Object.assign(document.createElement('iframe'), {src: '%s/'})" % self.origin
        tab.run(f"document.body.append({frame})")
        page = self.open()
        page.wait_for("document.getElementById('state').textContent.endsWith('viewers: 1')")

    def test_viewers(self) -> None:
        """
        There are eight viewers at most; one that stops reading delays no other, and a page that
        is one too many says so.
        """
        host, port = self.running.address("http")
        for _ in range(MAX_VIEWERS - 1):
            stream = http.client.HTTPConnection(host, port, timeout=DEADLINE)
            stream.request("GET", "/events")
            self.stack.callback(stream.close)
            # They never read on.
            self.assertEqual(stream.getresponse().status, 200)
        tab = self.open()
        tab.wait_for("document.getElementById('state').textContent.endsWith('viewers: 8')")
        late = self.browser.open(f"{self.origin}/")
        late.wait_for("document.getElementById('state')?.textContent.includes('8 viewers')")
        client = self.client("echo")
        for _ in range(100):
            self.assertEqual(exchange(client, b"x" * 1000), b"x" * 1000)
