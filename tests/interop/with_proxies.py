"""The proxies of docs/howto/proxies.md in front of the daemon, configured as the page says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

from tests.interop.client_case import InteropCase
from tests.support.needs import locate, need
from tests.support.pages import write_files
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "howto" / "proxies.md"

#: The ports of the page: of the proxy, and of the daemon.
FRONT, BACK = "7007", "7008"


class ProxyTests(InteropCase):
    """C{whoami} behind a proxy says who the client of the proxy is."""

    def setUp(self) -> None:
        super().setUp()
        self.files = {file.name: file for file in write_files(PAGE.read_text(), self.directory)}
        self.port = free_port()

    def start(self, file: str, command: Callable[[str], list[str]]) -> None:
        """Start the daemon, and a proxy with a configuration of the page."""
        ini = self.files["backend.ini"].read_text().replace(BACK, "0")
        host, back = self.serve(ini).address("whoami")
        text = self.files[file].read_text().replace(f"{host}:{BACK}", f"{host}:{back}")
        text = re.sub(rf"(bind |listen ):?{FRONT}", rf"\g<1>127.0.0.1:{self.port}", text)
        self.files[file].write_text(text)
        started = Daemon(command(str(self.files[file])), env=self.environment())
        self.addCleanup(started.kill)

    def ask_proxy(self) -> None:
        """Ask who we are, from an address that the proxy has not."""
        curl = [locate("curl"), "-sS", "--http0.9", "--interface", "127.0.0.7"]

        def answer() -> str:
            command = [*curl, f"http://127.0.0.1:{self.port}"]
            return subprocess.run(command, capture_output=True, text=True).stdout

        peer = json.loads(wait_until(answer, "the proxy does not answer"))["peer"]
        self.assertEqual(peer["address"], "127.0.0.7")

    def test_haproxy(self) -> None:
        """HAProxy sends version 2."""
        self.start("haproxy.cfg", lambda file: [locate("haproxy"), "-db", "-q", "-f", file])
        self.ask_proxy()

    def test_nginx(self) -> None:
        """nginx sends version 1."""
        need("/usr/lib/nginx/modules/ngx_stream_module.so")
        more = f"daemon off; pid {self.directory}/nginx.pid; error_log stderr;"
        options = ["-p", "/usr/share/nginx", "-e", "stderr", "-g", more]
        self.start("nginx.conf", lambda file: [locate("nginx"), *options, "-c", file])
        self.ask_proxy()
