"""Tests for L{socketd.web.page} and L{socketd.web.live}: the status page, in memory."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.application.service import IService
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from socketd.common.lag import LagMeter
from socketd.control.requests import IOperatorSession
from socketd.web.guard import TOKEN
from socketd.web.history import LENGTH
from socketd.web.live import MAX_EVENTS, MAX_MESSAGES, MAX_VIEWERS, STALL, Live, Viewer
from socketd.web.page import PageOperator, StatusPage
from socketd.web.server import MAX_CONNECTIONS, REQUEST_TIMEOUT, ChannelFactory
from tests.control.fakes import connect, make_daemon, watch
from tests.web.fakes import BrowserTransport

#: A peer that would like to be more than text.
EVIL = b"<img src=x onerror=alert(1)>\x1b[2J\r\n\xe2\x80\xae\xff"


class Case(SynchronousTestCase):
    """A page of a daemon with two services, which does not listen."""

    is_local = True

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.clock: Any = self.daemon.reactor
        self.live = Live(self.daemon, LagMeter(self.clock))
        self.page = StatusPage(self.daemon, self.live, self.is_local)
        self.factory = ChannelFactory(self.page.routes, self.clock)
        self.live.startService()
        self.addCleanup(self.end)

    def end(self) -> None:
        """Stop, unless the test has done so."""
        if self.live.running:
            self.live.stopService()

    def ask(
        self, target: str, method: str = "GET", body: bytes = b"", **headers: Any
    ) -> tuple[Any, BrowserTransport]:
        """Send a request on a connection of its own; C{Host} is an address."""
        channel, browser = self.factory.buildProtocol(None), BrowserTransport()
        channel.makeConnection(browser)
        sent = {"Host": "127.0.0.1:9155", "Content-Length": str(len(body))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {value}" for n, value in sent.items())]
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        return channel, browser

    def get(self, target: str, **headers: Any) -> tuple[int, str, str]:
        """Ask for a page: its status, its head and its text."""
        return self.parse(self.ask(target, **headers)[1])

    def parse(self, browser: BrowserTransport) -> tuple[int, str, str]:
        """Read a response."""
        head, _, body = browser.taken().decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body

    def command(self, body: Any, token: bool = True, **headers: Any) -> tuple[int, Any]:
        """Post a command: the status, and the answer or the text."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: dict[str, Any] = {"Content_Type": "application/json"} | headers
        sent |= {TOKEN.decode(): self.page.token} if token else {}
        status, _, text = self.parse(self.ask("/command", "POST", data, **sent)[1])
        return status, json.loads(text) if status == 200 else text

    def follow(
        self, query: str = "", token: bool = False, **headers: Any
    ) -> tuple[Any, BrowserTransport]:
        """Open the stream."""
        sent: dict[str, Any] = {TOKEN.decode(): self.page.token} if token else {}
        return self.ask(f"/events{query}", **sent, **headers)


class FilesTests(Case):
    """Tests for what the page is made of."""

    def test_files(self) -> None:
        """The page and its files come with their types, and with a policy that is strict."""
        for path, media_type in (
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/icon.svg", "image/svg+xml"),
        ):
            status, head, body = self.get(path)
            self.assertEqual(status, 200)
            self.assertIn(f"Content-Type: {media_type}", head)
            policy = head.partition("Content-Security-Policy: ")[2].partition("\r\n")[0]
            self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; "), policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn("require-trusted-types-for 'script'", policy)
            self.assertNotIn("Access-Control", head)
            self.assertTrue(len(body) > 100)

    def test_no_inline(self) -> None:
        """Neither script nor style is in the page itself, and it asks no other host."""
        body = self.get("/")[2]
        self.assertIsNone(re.search(r"<style|style=|\bon\w+=|javascript:|//", body))
        self.assertEqual(re.findall(r"<script[^>]*>(.*?)</script>", body, re.DOTALL), [""])
        for path in ("/page.css", "/page.js"):
            text = self.get(path)[2].replace("http://www.w3.org/2000/svg", "")
            self.assertIsNone(re.search(r"https?:|@import|url\(", text))
        script = self.get("/page.js")[2]
        self.assertIsNone(re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|cookie", script))

    def test_small(self) -> None:
        """Page, style and script are read in one go: 900 lines together."""
        lines = [self.get(path)[2].count("\n") for path in ("/", "/page.css", "/page.js")]
        self.assertTrue(sum(lines) <= 900, lines)

    def test_ids(self) -> None:
        """What the script and the links look for is there, once."""
        page, script = self.get("/")[2], self.get("/page.js")[2]
        ids = re.findall(r'\bid="([\w-]+)"', page)
        self.assertEqual(len(set(ids)), len(ids))
        wanted = set(re.findall(r'find\("([\w-]+)"\)', script))
        wanted |= set(re.findall(r'(?:for|aria-labelledby)="([\w-]+)"', page))
        self.assertEqual(wanted - set(ids), set())

    def test_wrong_host(self) -> None:
        """By a name that is not the file's, nothing of the page is told."""
        for path in ("/", "/page.js", "/events", "/history"):
            status, _, body = self.get(path, Host="evil.example:9155")
            self.assertEqual(status, 403, path)
            self.assertIn("http_names", body)
        status, text = self.command({"command": "status"}, Host="evil.example")
        self.assertEqual(status, 403)

    def test_interfaces(self) -> None:
        """Its parts are what others take them for."""
        verifyClass(IOperatorSession, PageOperator)
        verifyClass(IPushProducer, Viewer)
        verifyObject(IService, self.live)


class CommandTests(Case):
    """Tests for the commands of the page."""

    def test_reading(self) -> None:
        """What only asks takes no token, and is answered as at the control socket."""
        connect(self.daemon, "shout")
        status, answer = self.command({"command": "connections"}, token=False)
        self.assertEqual((status, answer["ok"], len(answer["rows"])), (200, True, 1))
        for name in ("status", "services", "listeners", "certificates", "waiting", "bans"):
            self.assertEqual(self.command({"command": name}, token=False)[1]["ok"], True, name)

    def test_changes(self) -> None:
        """What changes something takes the token, and is logged with who did it."""
        connection = connect(self.daemon, "shout")
        seen = watch(self.daemon)
        for wanted in ({"command": "reset", "id": 1}, {"command": "ban", "source": "192.0.2.1"}):
            status, text = self.command(wanted, token=False)
            self.assertEqual(status, 403)
            self.assertIn(TOKEN.decode(), text)
        self.assertEqual((seen, connection.disconnecting), ([], False))
        status, answer = self.command({"command": "reply", "id": 1, "data": "AP8K"})
        self.assertEqual((status, answer), (200, {"ok": True, "text": "sent to 1"}))
        self.assertEqual(connection.value(), b"\0\xff\n")
        who = r"operator at 127.0.0.1:5: reply 1 \x00\xff\n"
        self.assertEqual(seen, [("operator_command", who)])

    def test_name(self) -> None:
        """An operator's own name is logged, too, if it is one."""
        seen = watch(self.daemon)
        for name in ("anna", "x" * 17, "a b", "<b>", "\x1b[2J", ""):
            connect(self.daemon, "shout")
            headers: dict[str, Any] = {"X_Socketd_Name": name} if name else {}
            self.command({"command": "unban", "source": "192.0.2.9"}, **headers)
            self.command({"command": "ban", "source": "192.0.2.9"}, **headers)
            self.command({"command": "unban", "source": "192.0.2.9"}, **headers)
        found = {text.partition(": ")[0] for event, text in seen if event == "operator_command"}
        self.assertEqual(found, {"operator anna at 127.0.0.1:5", "operator at 127.0.0.1:5"})

    def test_wrong_token(self) -> None:
        """A wrong token, or one in a cookie, changes nothing."""
        connect(self.daemon, "shout")
        cases: tuple[dict[str, Any], ...] = (
            {TOKEN.decode(): "x"},
            {TOKEN.decode(): self.page.token[:-1]},
            {"Cookie": f"{TOKEN.decode()}={self.page.token}"},
            {"Authorization": self.page.token},
        )
        for headers in cases:
            wanted = {"command": "close", "id": 1}
            self.assertEqual(self.command(wanted, token=False, **headers)[0], 403)

    def test_other_pages(self) -> None:
        """A request of another site's page is refused, with the token too; nor is it told of."""
        connect(self.daemon, "shout")
        cases: tuple[dict[str, Any], ...] = (
            {"Origin": "http://evil.example"},
            {"Sec_Fetch_Site": "cross-site"},
        )
        for headers in cases:
            for name in ("status", "drain"):
                self.assertEqual(self.command({"command": name}, **headers)[0], 403)
            self.assertEqual(self.get("/history", **headers)[0], 403)
            self.assertEqual(self.parse(self.follow(**headers)[1])[0], 403)
        status, head, _ = self.parse(self.ask("/command", "OPTIONS")[1])
        self.assertEqual(status, 405)
        self.assertNotIn("Access-Control", head)

    def test_own_origin(self) -> None:
        """The page's own requests say where they come from."""
        headers: dict[str, Any] = {"Origin": "http://127.0.0.1:9155"}
        headers["Sec_Fetch_Site"] = "same-origin"
        self.assertEqual(self.command({"command": "status"}, **headers)[0], 200)

    def test_media_type(self) -> None:
        """Only JSON is taken: a form of another page cannot send that."""
        for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
            status, _ = self.command({"command": "status"}, Content_Type=media_type)
            self.assertEqual(status, 415)

    def test_mistakes(self) -> None:
        """What is no command is an error in the answer, and nothing is raised."""
        for body in (b"", b"status", b"[]", b"{", b'{"command": 7}', b"\xff", b"{" * 8000):
            status, answer = self.command(body)
            self.assertEqual((status, answer["ok"]), (200, False), body[:10])

    def test_not_here(self) -> None:
        """Commands of sessions are none of the page, least of all the one that tells the token."""
        self.daemon.page = "a secret"
        for name in ("web", "watch", "attend", "quit", "exit"):
            status, answer = self.command({"command": name}, token=False)
            self.assertEqual((status, answer["ok"]), (200, False))
            self.assertNotIn("secret", json.dumps(answer))
        session = PageOperator("operator")
        for act in (lambda: session.watch(None), session.attend, session.leave):
            self.assertRaises(Exception, act)

    def test_cached(self) -> None:
        """The answer to a question is used again within a second, not after a change."""
        first = self.command({"command": "connections"}, token=False)
        connect(self.daemon, "shout")
        self.assertEqual(self.command({"command": "connections"}, token=False), first)
        self.command({"command": "ban", "source": "192.0.2.1"})
        self.assertNotEqual(self.command({"command": "connections"}, token=False), first)
        connect(self.daemon, "shout")
        self.clock.advance(1)
        rows = self.command({"command": "connections"}, token=False)[1]["rows"]
        self.assertEqual(len(rows), 2)

    def test_cache_is_bounded(self) -> None:
        """However many questions there are, few answers are kept."""
        for number in range(100):
            self.command({"command": "show", "id": number}, token=False)
        self.assertTrue(len(self.page._answers) <= 32)


class StreamTests(Case):
    """Tests for viewers."""

    def test_begin(self) -> None:
        """At first a viewer is told of the daemon, what happened, and who waits."""
        connect(self.daemon).receive(EVIL)
        channel, browser = self.follow()
        head = bytes(browser.value()).partition(b"\r\n\r\n")[0]
        self.assertIn(b"Content-Type: text/event-stream", head)
        (hello, first), (events, happened), (waiting, queue) = browser.told()
        self.assertEqual((hello, events, waiting), ("hello", "events", "waiting"))
        self.assertEqual((first["services"], first["may_change"]), (["ack", "shout"], False))
        self.assertEqual(first["length"], LENGTH)
        self.assertEqual([one["event"] for one in happened], ["connection_made"])
        (one,) = queue["oldest"]
        said = r"<img src=x onerror=alert(1)>\x1b[2J\r\n\u202e\xff"
        self.assertEqual((one["id"], one["service"], one["said"]), (1, "ack", said))
        self.assertEqual(queue["operators"], [])
        channel.connectionLost(connectionDone)
        self.assertEqual(self.live.viewers, [])

    def test_ticks(self) -> None:
        """Each second it is told the figures that are not 0, and what has happened since."""
        _, browser = self.follow()
        self.clock.advance(1)
        browser.told()
        connect(self.daemon, "shout").receive(b"x")
        self.clock.advance(1)
        ((name, tick),) = browser.told()
        self.assertEqual(name, "tick")
        figures = {"open": 1, "connections": 1.0, "messages": 1.0, "in": 1.0, "out": 1.0}
        self.assertEqual(tick["rates"], {"ack": {}, "shout": figures, "": figures})
        self.assertEqual([one["event"] for one in tick["events"]], ["connection_made"])
        self.assertEqual((tick["status"]["connections"], tick["viewers"]), (1, 1))
        self.clock.advance(REQUEST_TIMEOUT * 3)
        self.assertFalse(browser.disconnecting)

    def test_queue(self) -> None:
        """A change of the queue is told at once, to all."""
        browsers = [self.follow()[1] for _ in range(2)]
        [browser.told() for browser in browsers]
        connect(self.daemon).receive(b"hello")
        self.clock.advance(0)
        for browser in browsers:
            ((name, queue),) = browser.told()
            self.assertEqual((name, queue["count"]), ("waiting", 1))
        self.command({"command": "answer", "id": 1, "text": "yes"})
        self.clock.advance(0)
        for browser in browsers:
            self.assertEqual(browser.told()[-1][1]["count"], 0)

    def test_attend(self) -> None:
        """With the token a viewer may be an operator, and all see who is; else it is none."""
        for query, token in (("", True), ("?attend=1", False), ("?attend=0", True)):
            channel, _ = self.follow(query, token)
            self.assertFalse(self.daemon.operator.attended, query)
            channel.connectionLost(connectionDone)
        _, other = self.follow()
        channel, browser = self.follow("?attend=1", token=True)
        self.assertTrue(browser.told()[0][1]["may_change"])
        self.assertEqual(self.daemon.operator.names, ["operator at 127.0.0.1:5"])
        self.clock.advance(0)
        self.assertEqual(other.told()[-1][1]["operators"], ["operator at 127.0.0.1:5"])
        channel.connectionLost(connectionDone)
        self.assertFalse(self.daemon.operator.attended)

    def test_shown(self) -> None:
        """The messages of one connection are told to who shows it, and cost no other service."""
        one, two = connect(self.daemon, "shout"), connect(self.daemon, "shout")
        state, other = one.service_state, self.daemon.services[0].service_state
        before = (state.observed, other.observed)
        self.assertEqual(before, (False, True))
        channel, browser = self.follow(f"?show={one.connection_id}")
        self.assertEqual((state.observed, self.daemon.event_bus.watched), (True, False))
        browser.told()
        one.receive(EVIL)
        two.receive(b"not shown")
        self.clock.advance(1)
        messages = dict(browser.told())["messages"]
        (message,) = messages
        self.assertEqual(message["text"], r"<img src=x onerror=alert(1)>\x1b[2J\r\n\u202e\xff")
        channel.connectionLost(connectionDone)
        self.assertEqual((state.observed, other.observed), before)

    def test_shown_nothing(self) -> None:
        """What is no id, or that of no connection, shows nothing."""
        for query in ("?show=", "?show=x", "?show=7", f"?show={'9' * 5000}", "?show=%FF", "?show"):
            channel, browser = self.follow(query)
            if not browser.disconnecting:
                self.assertEqual(browser.told()[0][0], "hello", query)
            channel.connectionLost(connectionDone)
        self.assertEqual(self.live.viewers, [])

    def test_many_messages(self) -> None:
        """Of many messages at a time some are told, and how many were left out."""
        one = connect(self.daemon, "shout")
        _, browser = self.follow("?show=1")
        browser.told()
        for _ in range(MAX_MESSAGES + 20):
            one.receive(b"x")
        self.clock.advance(1)
        found = dict(browser.told())
        self.assertEqual((len(found["messages"]), found["left_out"]), (MAX_MESSAGES, 20))

    def test_many_events(self) -> None:
        """So it is with events; the newest are kept for those who come later."""
        _, browser = self.follow()
        browser.told()
        for _ in range(MAX_EVENTS + 30):
            connect(self.daemon, "shout").leave()
        self.clock.advance(1)
        ((_, tick),) = browser.told()
        self.assertEqual(len(tick["events"]), MAX_EVENTS)
        self.assertEqual(tick["events_left_out"], 2 * (MAX_EVENTS + 30) - MAX_EVENTS)
        _, late = self.follow()
        self.assertEqual(len(late.told()[1][1]), MAX_EVENTS)

    def test_failures(self) -> None:
        """An event that has a failure keeps nothing of it."""
        state = self.daemon.services[1].service_state
        state.report("192.0.2.1:7", ValueError("<b>"))
        kept = self.live._events[-1][1]
        self.assertNotIn("log_failure", kept)
        self.flushLoggedErrors(ValueError)

    def test_slow(self) -> None:
        """One that does not read is told nothing meanwhile, then what is now; others all."""
        channel, browser = self.follow()
        _, other = self.follow()
        channel.pauseProducing()
        browser.told()
        other.told()
        for _ in range(5):
            self.clock.advance(1)
        connect(self.daemon).receive(b"hello")
        self.clock.advance(0)
        self.assertEqual(browser.taken(), b"")
        self.assertEqual([name for name, _ in other.told()], ["tick"] * 5 + ["waiting"])
        channel.resumeProducing()
        self.clock.advance(1)
        found = browser.told()
        self.assertEqual([name for name, _ in found], ["waiting", "tick", "left_out"])
        self.assertEqual((found[0][1]["count"], found[2][1]), (1, 5))

    def test_stalled(self) -> None:
        """One that reads nothing for longer is reset, and its place is free."""
        channel, browser = self.follow()
        channel.pauseProducing()
        self.clock.pump([1] * (int(STALL) - 1))
        self.assertFalse(browser.is_reset)
        self.clock.advance(1)
        self.assertTrue(browser.is_reset)
        channel.connectionLost(connectionDone)
        self.assertEqual(self.live.viewers, [])

    def test_viewers_are_bounded(self) -> None:
        """There are no more than so many viewers; one more is told so."""
        channels = [self.follow()[0] for _ in range(MAX_VIEWERS)]
        status, _, text = self.parse(self.follow()[1])
        self.assertEqual((status, text), (503, f"there are {MAX_VIEWERS} viewers already\n"))
        channels[0].connectionLost(connectionDone)
        self.assertEqual(self.parse(self.follow()[1])[0], 200)

    def test_not_replaced(self) -> None:
        """At the limit of connections another one is reset, not a viewer."""
        _, browser = self.follow()
        others = [self.ask("/")[1] for _ in range(MAX_CONNECTIONS)]
        self.assertFalse(browser.is_reset)
        self.assertTrue(others[0].is_reset)

    def test_head(self) -> None:
        """A stream has no head without it."""
        self.assertEqual(self.parse(self.ask("/events", "HEAD")[1])[0], 405)

    def test_stop(self) -> None:
        """When the daemon stops, streams end and nothing is left."""
        _, browser = self.follow("?attend=1", token=True)
        self.live.stopService()
        self.assertTrue(bytes(browser.value()).endswith(b"0\r\n\r\n"))
        self.assertEqual((self.live.viewers, self.daemon.operator.names), ([], []))
        left = [call for call in self.clock.getDelayedCalls() if call.getTime() < 60]
        self.assertEqual(left, [])

    def test_history(self) -> None:
        """The history is there before the first viewer, of each service and of all."""
        connect(self.daemon, "shout")
        self.clock.advance(1)
        for query in ("", "?service=shout"):
            found = json.loads(self.get(f"/history{query}")[2])
            self.assertEqual(found["open"], [0, 1])
        self.assertEqual(json.loads(self.get("/history?service=none")[2]), {})


class ElsewhereTests(Case):
    """A page that others can reach."""

    is_local = False

    def test_reading(self) -> None:
        """The files come to all, the rest to those who have the token."""
        self.assertEqual(self.get("/")[0], 200)
        self.assertEqual(self.get("/history")[0], 403)
        self.assertEqual(self.parse(self.follow()[1])[0], 403)
        self.assertEqual(self.command({"command": "status"}, token=False)[0], 403)
        self.assertEqual(self.command({"command": "status"})[0], 200)
        self.assertEqual(self.parse(self.follow(token=True)[1])[0], 200)
