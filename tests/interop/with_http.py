"""The clients of HTTP: curl, requests, a browser's fetch, and what a person types into ncat."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

from tests.interop.web_case import WebClientCase
from tests.support.needs import locate
from tests.support.pages import PageCase
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "HTTP.md"

INI = """
[web]
protocol = http
listen =
    tcp:0:interface=127.0.0.1
    tls:0:interface=127.0.0.1
    unix:{directory}/web.sock
tls_certificate = {directory}/server.pem
tls_alpn = http/1.1
max_body = 1MiB

[behind]
protocol = http
listen = haproxy:tcp:0:interface=127.0.0.1
proxy_from = 127.0.0.1

[slow]
protocol = http
listen = tcp:0:interface=127.0.0.1
request_timeout = 200ms
"""

CURL = ("-sS", "--max-time", str(DEADLINE))

#: What a page of another server would do in a browser; the answers are printed as JSON.
SCRIPT = """
const [base] = process.argv.slice(1);
const told = async (path, init) => (await fetch(base + path, init)).json();
const form = new FormData();
form.append("a", "1");
form.append("f", new Blob(["12345"], {type: "text/css"}), "x.css");
Promise.all([
  told("/a?b=%20", {method: "PATCH", body: JSON.stringify({c: [1]})}),
  told("/", {method: "POST", body: form}),
  told("/redirect/2"),
  told("/gzip"),
  fetch(base + "/stream/3").then((response) => response.text()),
  fetch(base + "/status/418").then((response) => response.status),
]).then((answers) => console.log(JSON.stringify(answers)));
"""


class HttpPageTests(PageCase):
    """docs/HTTP.md holds."""

    def test_page(self) -> None:
        """What it shows is what comes; L{tests.protocols.web.test_page} has the rest."""
        locate("curl")
        self.follow(PAGE)


class HttpClientTests(WebClientCase):
    """Tests for what clients that others wrote get."""

    ini = INI

    def url(self, daemon: Daemon, path: str = "", kind: str = "tcp", service: str = "web") -> str:
        """Write a URL."""
        scheme = "https" if kind == "tls" else "http"
        host, port = daemon.address(service, kind)
        return f"{scheme}://{host}:{port}{path}"

    def curl(self, *arguments: str, given: bytes = b"") -> str:
        """Run curl up to its end."""
        command = [locate("curl"), *CURL, *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, check=True, timeout=DEADLINE
        )
        return done.stdout.decode()

    def test_curl(self) -> None:
        """curl is answered: bodies of all kinds, HEAD, chunks, and again on a connection."""
        with self.serve_web() as daemon:
            url = self.url(daemon)
            large = bytes(range(256)) * 2048
            for options in ((), ("--http1.0",), ("-H", "Transfer-Encoding: chunked")):
                told = json.loads(self.curl(*options, "--data-binary", "@-", url, given=large))
                self.assertEqual((told["method"], len(told["body_base64"])), ("POST", 699052))
            told = json.loads(self.curl("-F", "a=1", "-F", f"f=@{self.ca}", url))
            self.assertEqual(told["form"], {"a": ["1"]})
            self.assertEqual(told["files"]["f"][0]["filename"], "ca.pem")
            self.assertIn("Content-Length: 40\r\n", self.curl("-I", f"{url}/bytes/40"))
            form = "%{http_code} %{size_download} %{num_connects} "
            shown = self.curl(
                *("-o", "/dev/null", "-w", form, f"{url}/bytes/9000000", f"{url}/status/503")
            )
            self.assertTrue(shown.startswith("200 9000000 1 "), shown)
            told = json.loads(self.curl("-L", f"{url}/redirect/3"))
            self.assertEqual(told["path"], "/anything")
            letters = self.curl("-C", "24", "-o", "-", f"{url}/range/28")
            self.assertEqual(letters, "yzab")
            self.assertEqual(self.curl("-u", "u:p", "-f", f"{url}/basic-auth/u/p").count("u"), 4)
            self.assertEqual(len(self.curl(f"{url}/drip?numbytes=100&duration=0.5")), 100)

    def test_curl_complaints(self) -> None:
        """curl is told the status of what is wrong, also of a body that it waits with."""
        with self.serve_web() as daemon:
            url, code = self.url(daemon), ("-o", "/dev/null", "-w", "%{http_code}")
            large = bytes(2_000_000)
            posted = self.curl(*code, "--data-binary", "@-", url, given=large)
            self.assertEqual(posted, "413")
            self.assertEqual(self.curl(*code, "-H", f"X: {'x' * 20_000}", url), "431")
            self.assertEqual(self.curl(*code, f"{url}/{'x' * 20_000}"), "414")
            self.assertEqual(self.curl(*code, "-H", "Transfer-Encoding: gzip", url), "501")
            self.assertEqual(self.curl(*code, f"{url}/bytes/x"), "400")

    def test_listeners(self) -> None:
        """Over TLS, UNIX sockets and behind a balancer it tells what it knows of each."""
        with self.serve_web() as daemon:
            url = self.url(daemon, "/", "tls")
            told = json.loads(self.curl("--cacert", self.ca, url))
            found = told["tls"]["version"], told["tls"]["alpn"]
            self.assertEqual(found, ("TLSv1.3", "http/1.1"))
            path = str(self.directory / "web.sock")
            told = json.loads(self.curl("--unix-socket", path, "http://x/"))
            self.assertEqual((told["transport"], told["local"]), ("unix", {"path": path}))
            claim = ("-H", "X-Forwarded-For: 192.0.2.9")
            proxied = ("--haproxy-protocol", *claim, self.url(daemon, "/", "tcp", "behind"))
            told = json.loads(self.curl(*proxied))
            self.assertEqual(told["proxy"]["address"], "127.0.0.1")
            claimed = {"believed": False, "X-Forwarded-For": ["192.0.2.9"]}
            self.assertEqual(told["forwarded"], claimed)

    def test_requests(self) -> None:
        """Python's requests reads every answer, on one connection."""
        with self.serve_web() as daemon, requests.Session() as session:
            session.trust_env = False
            url = self.url(daemon)

            def get(path: str, **more: Any) -> requests.Response:
                return session.get(f"{url}{path}", timeout=DEADLINE, **more)

            told = session.put(url, json={"a": "\u20ac"}, timeout=DEADLINE).json()
            self.assertEqual((told["json"], told["request"]), ({"a": "\u20ac"}, 1))
            self.assertEqual(get("/redirect/5").json()["path"], "/anything")
            self.assertTrue(get("/gzip").json()["gzipped"])
            self.assertEqual(len(list(get("/stream/20", stream=True).iter_lines())), 20)
            self.assertEqual(get("/basic-auth/u/p", auth=HTTPBasicAuth("u", "p")).status_code, 200)
            self.assertEqual(get("/bytes/9?seed=1").content, get("/bytes/9?seed=1").content)
            self.assertEqual(get("/").json()["request"], 13)
            again = get("/etag/x", headers={"If-None-Match": '"x"'})
            self.assertEqual((again.status_code, again.content), (304, b""))
            self.assertEqual(get("/delay/0.2").json()["connection"], told["connection"])

    def test_fetch(self) -> None:
        """A browser's fetch, several at once, is answered."""
        node = locate("node")
        with self.serve_web() as daemon:
            command = [node, "-e", SCRIPT, self.url(daemon)]
            done = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE)
        patch, form, redirected, zipped, stream, teapot = json.loads(done.stdout)
        self.assertEqual((patch["query"], patch["json"]), ({"b": [" "]}, {"c": [1]}))
        file = {"filename": "x.css", "type": "text/css", "size": 5}
        self.assertEqual((form["form"], form["files"]), ({"a": ["1"]}, {"f": [file]}))
        self.assertEqual((redirected["path"], zipped["gzipped"]), ("/anything", True))
        self.assertEqual((stream.count("\n"), teapot), (3, 418))

    def test_typed(self) -> None:
        """What is typed by hand is answered, and an unfinished request is told so."""
        with self.serve_web() as daemon:
            for typed, status in (
                (b"GET /x HTTP/1.0\n\n", b"HTTP/1.1 200 OK\r\n"),
                (b"GET /x HTTP/1.0\n", b"HTTP/1.1 400 Bad Request\r\n"),
            ):
                command = [locate("ncat"), *map(str, daemon.address("web"))]
                done = subprocess.run(command, input=typed, capture_output=True, timeout=DEADLINE)
                self.assertTrue(done.stdout.startswith(status), done.stdout)

    def test_slow(self) -> None:
        """Who does not finish a request is answered 408, by the daemon's own clock."""
        with self.serve_web() as daemon, daemon.connect("slow") as client:
            client.sendall(b"GET / HTTP/1.1\r\nX")
            self.assertTrue(client.makefile("rb").read().startswith(b"HTTP/1.1 408 "))

    def test_log(self) -> None:
        """Each request is a line of the log."""
        with self.serve_web() as daemon:
            self.curl(self.url(daemon, "/a%0a"))
            daemon.output.find(r"127.0.0.1:\d+ \(web 1\): GET /a%0a HTTP/1.1: 200$")
