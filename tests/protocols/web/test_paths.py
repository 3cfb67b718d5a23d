"""Tests for L{socketd.protocols.web.paths}: each of httpbin's paths."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections import Counter

from socketd.protocols.web.answers import PIECE
from socketd.protocols.web.options import HttpOptions
from socketd.protocols.web.paths import MAX_LINES, MAX_REDIRECTS, PATHS
from tests.protocols.web.client import Response, WebCase, request

#: The clock goes on in so many steps, each shorter than a pause.
STEPS = 100


class PathTests(WebCase):
    """Tests for the paths that have a meaning."""

    def slow(self, target: str, *times: float) -> list[int]:
        """Ask for a path, and say how many bytes of the body have come at these times."""
        connection, found, now = self.connect(), [], 0.0
        connection.channel.dataReceived(request(target))
        for time in times:
            self.clock.pump([(time - now) / STEPS] * STEPS)
            now = time
            found.append(len(connection.wire.value().partition(b"\r\n\r\n")[2]))
        return found

    def drawn(self, target: str, count: int) -> Counter[int]:
        """Ask for a path many times with other seeds, and count the statuses."""
        return Counter(self.get(f"{target}?seed={seed}").status for seed in range(count))

    def test_status(self) -> None:
        """A status is answered, with what clients want to have beside it."""
        for status, name, value in (
            (200, "Content-Length", "7"),
            (301, "Location", "/redirect/1"),
            (401, "WWW-Authenticate", 'Basic realm="socketd"'),
            (407, "Proxy-Authenticate", 'Basic realm="socketd"'),
            (599, "Content-Type", "text/plain; charset=utf-8"),
        ):
            response = self.get(f"/status/{status}")
            self.assertEqual((response.status, response.headers[name]), (status, value))
        self.assertEqual(self.get("/status/418").body, b"418 I'm a Teapot\n")

    def test_status_without_body(self) -> None:
        """A status that has no body has none, and the connection goes on."""
        connection = self.connect()
        for status in (204, 205, 304):
            connection.send(request(f"/status/{status}"))
        found = connection.taken()
        self.assertEqual([one.status for one in found], [204, 205, 304])
        self.assertEqual([one.body for one in found], [b"", b"", b""])
        self.assertEqual([one.headers.get("Content-Length") for one in found], [None, "0", None])

    def test_one_of_several(self) -> None:
        """Of several statuses one is drawn, by weight; the same for the same seed."""
        found = self.drawn("/status/200:3,500:1", 200)
        self.assertEqual(found.keys(), {200, 500})
        self.assertGreater(found[200], 2 * found[500])
        self.assertEqual(found, self.drawn("/status/200%3A3,%20500", 200))
        self.assertEqual(self.drawn("/status/200:0,500:1", 20), {500: 20})
        self.assertIn(self.get("/status/200,201").status, (200, 201))

    def test_delay(self) -> None:
        """The answer of any path comes later."""
        connection = self.connect()
        connection.channel.dataReceived(request("/delay/1.5", "POST", b"x"))
        self.clock.advance(1.4)
        self.assertEqual(connection.taken(), [])
        self.clock.advance(0.2)
        self.assertEqual(connection.taken()[0].json["body"], "x")
        self.assertEqual(self.get("/delay/0").json["path"], "/delay/0")

    def test_bytes(self) -> None:
        """Random bytes; the same for the same seed, and else others."""
        for count in (0, 1, PIECE, PIECE + 1, 5 * PIECE):
            first, again, other, none = (
                self.get(f"/bytes/{count}?{query}").body
                for query in ("seed=1", "seed=1", "seed=2", "x")
            )
            self.assertEqual([len(one) for one in (first, again, other, none)], [count] * 4)
            self.assertEqual(first, again)
            if count >= PIECE:
                self.assertEqual(len({first, other, none}), 3)

    def test_drip(self) -> None:
        """Bytes come one after the other, or in pieces where there are many."""
        self.assertEqual(self.slow("/drip?numbytes=4&duration=2", 0, 0.6, 1.2, 2.1), [1, 2, 3, 4])
        found = self.slow("/drip?numbytes=10001&duration=1", 0, 0.5, 1.2)
        self.assertEqual(found[2], 10001)
        self.assertTrue(3000 < found[1] < 6000, found)
        self.assertEqual(self.slow("/drip?numbytes=5&duration=0&delay=1", 0.9, 1.1), [0, 5])
        self.assertEqual(self.slow("/drip?numbytes=0", 0), [0])

    def test_drip_code(self) -> None:
        """Their status is what is asked for."""
        connection = self.connect()
        connection.send(request("/drip?code=503&duration=0"))
        (response,) = connection.taken()
        self.assertEqual((response.status, response.body), (503, b"*" * 10))

    def test_stream(self) -> None:
        """Lines of JSON come in chunks."""
        response = self.get("/stream/3")
        self.assertEqual(response.headers["Transfer-Encoding"], "chunked")
        told = [Response(200, {}, line).json for line in response.body.splitlines()]
        self.assertEqual([one["id"] for one in told], [0, 1, 2])
        self.assertEqual({one["path"] for one in told}, {"/stream/3"})
        self.assertEqual(self.get("/stream/0").body, b"")

    def test_headers(self) -> None:
        """The headers by name; several of a name are one."""
        sent = b"GET /headers HTTP/1.1\r\nhOst: x\r\nA: 1\r\nA: 2\r\n\r\n"
        self.assertEqual(self.ask(sent).json, {"headers": {"hOst": "x", "A": "1, 2"}})

    def test_ip(self) -> None:
        """The peer's address, whatever a header claims."""
        told = self.get("/ip", X_Forwarded_For="1.1.1.1").json
        self.assertEqual(told, {"origin": "192.168.1.1"})
        self.assertEqual(self.get("/ip", Accept="text/plain").body, b"192.168.1.1\n")

    def test_redirect(self) -> None:
        """So many redirections lead to an answer, and none leads elsewhere."""
        target, seen = "/redirect/3", []
        while (response := self.get(target)).status == 302:
            target = response.headers["Location"]
            seen.append(target)
        self.assertEqual(seen, ["/redirect/2", "/redirect/1", "/anything"])
        self.assertEqual(response.json["path"], "/anything")

    def test_etag(self) -> None:
        """A page with a tag: 304 to who has it, 412 to who wants another."""
        for field, value, status in (
            ("If_None_Match", '"x"', 304),
            ("If_None_Match", 'W/"x", "y"', 304),
            ("If_None_Match", "*", 304),
            ("If_None_Match", '"y"', 200),
            ("If_Match", '"y"', 412),
            ("If_Match", '"y", "x"', 200),
        ):
            response = self.get("/etag/x", **{field: value})
            self.assertEqual((response.status, response.headers["ETag"]), (status, '"x"'))

    def test_cache(self) -> None:
        """A page that may be kept."""
        response = self.get("/cache/60")
        self.assertEqual(response.headers["Cache-Control"], "public, max-age=60")
        self.assertEqual(response.json["path"], "/cache/60")

    def test_gzip(self) -> None:
        """A body that is compressed."""
        response = self.get("/gzip")
        self.assertEqual(response.headers["Content-Encoding"], "gzip")
        self.assertTrue(Response(200, {}, gzip.decompress(response.body)).json["gzipped"])

    def test_range(self) -> None:
        """Letters, or the range of them that is asked for (RFC 9110, 14)."""
        letters = b"abcdefghijklmnopqrstuvwxyz" * 5000
        for count, asked, status, start, end in (
            (30, "", 200, 0, 30),
            (100_000, "", 200, 0, 100_000),
            (30, "bytes=2-4", 206, 2, 5),
            (30, "bytes=28-", 206, 28, 30),
            (30, "bytes=-3", 206, 27, 30),
            (30, "bytes=-99", 206, 0, 30),
            (30, "bytes=5-99", 206, 5, 30),
            (50_000, "bytes=17-40016", 206, 17, 40_017),
            (30, "bytes=1-2,4-5", 200, 0, 30),
            (30, "lines=1-2", 200, 0, 30),
        ):
            response = self.get(f"/range/{count}", Range=asked)
            self.assertEqual((response.status, response.body), (status, letters[start:end]), asked)
            shown = f"bytes {start}-{end - 1}/{count}" if status == 206 else None
            self.assertEqual(response.headers.get("Content-Range"), shown)
            self.assertEqual(response.headers["ETag"], f'"range{count}"')

    def test_no_range(self) -> None:
        """A range that there is not is answered 416 with the length."""
        for asked in ("bytes=30-", "bytes=5-4", "bytes=-0"):
            response = self.get("/range/30", Range=asked)
            self.assertEqual(response.status, 416)
            self.assertEqual(response.headers["Content-Range"], "bytes */30")

    def test_basic_auth(self) -> None:
        """The user with the password is let in, others are asked."""
        def field(text: str, scheme: str = "Basic") -> str:
            return f"{scheme} {b64encode(text.encode()).decode()}"

        response = self.get("/basic-auth/u%20v/p:q", Authorization=field("u v:p:q", "bAsic"))
        self.assertEqual(response.json, {"authenticated": True, "user": "u v"})
        for wrong in ("", field("u v:x"), field("u v:p:q", "Bearer"), "Basic !", "Basic"):
            response = self.get("/basic-auth/u%20v/p:q", Authorization=wrong)
            self.assertEqual(response.status, 401)
            self.assertEqual(response.headers["WWW-Authenticate"], 'Basic realm="socketd"')

    def test_anything(self) -> None:
        """Other paths have no meaning, even if they look like it."""
        for target in ("/anything/x", "/", "/statusx/200", "//status/200", "*", "/Delay/9"):
            self.assertEqual(self.get(target).json["path"], target)

    def test_whole_url(self) -> None:
        """A target may be a whole URL, as a proxy's client sends it (RFC 9112, 3.2.2)."""
        self.assertEqual(self.get("http://x/status/204").status, 204)
        self.assertEqual(self.get("http://x").json["path"], "/")


class ComplaintTests(WebCase):
    """Tests for paths that are not written as they should be."""

    def test_usage(self) -> None:
        """A path that is not written as it should be is answered 404, and how it is written."""
        for name, path in PATHS.items():
            connection = self.connect()
            connection.send(request(f"/{name}/a/b/c"))
            (response,) = connection.taken()
            self.assertEqual((response.status, connection.wire.disconnecting), (404, False))
            self.assertEqual(response.body, f"write {path.usage}\n".encode())

    def test_too_much(self) -> None:
        """What asks for too much, or for no number, is answered 400 with the limit."""
        options = HttpOptions()
        for target, said in (
            (f"/bytes/{options.max_bytes + 1}", "up to 10485760"),
            (f"/range/{options.max_bytes + 1}", "up to 10485760"),
            (f"/drip?numbytes={options.max_bytes + 1}", "up to 10485760"),
            ("/delay/10.1", "up to 10"),
            ("/drip?duration=11", "up to 10"),
            ("/drip?delay=11", "up to 10"),
            (f"/stream/{MAX_LINES + 1}", "up to 1000"),
            (f"/redirect/{MAX_REDIRECTS + 1}", "up to 50"),
            ("/delay/1e3", "'1e3' is no number of seconds"),
            ("/delay/-1", "'-1' is no number"),
            ("/bytes/%C2%B2", "'%C2%B2' is no number"),
            ("/drip?numbytes=x", "'x' is no number"),
            ("/bytes/1.5", "1.5 bytes are no whole number"),
            ("/drip?numbytes=2.0", "2.0 bytes are no whole number"),
            ("/stream/0.5", "0.5 lines are no whole number"),
            ("/drip?code=204", "write code=200 to 599"),
            ("/drip?code=x", "write code=200 to 599"),
            ("/status/100", "write /status/200 to 599"),
            ("/status/200,x", "write /status/200 to 599"),
            ("/status/200:0", "write /status/200 to 599"),
        ):
            response = self.get(target)
            self.assertEqual(response.status, 400, target)
            self.assertIn(said, response.body.decode())
