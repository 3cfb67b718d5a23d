"""C{whoami} from the real daemon over each transport, and C{socketd whoami}."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.polling import DEADLINE
from tests.support.proxy import v1, v2_tcp
from tests.support.sockets import read_to_end
from tests.support.tls import NAME, TlsCase, connect_raw, start_tls, trusting_context

INI = """
[defaults]
tls_certificate = {directory}/server.pem
proxy_from = 127.0.0.1
[whoami]
listen =
    tcp:0:interface=127.0.0.1
    udp:0
    unix:{directory}/who.sock
    unixgram:{directory}/who.gram
[proxied]
protocol = whoami
listen = haproxy:tcp:0:interface=127.0.0.1
[secret]
protocol = whoami
listen = tls:0:interface=127.0.0.1
hostname = no
tls_alpn = http/1.1
tls_client_ca = {directory}/ca.pem
[behind]
protocol = whoami
listen = haproxy:tls:0:interface=127.0.0.1
[brief]
protocol = whoami
format = short
listen = udp:0:interface=127.0.0.1
[wordy]
protocol = whoami
format = text
listen = tcp:0:interface=127.0.0.1
"""


def endpoint(address: Any) -> dict[str, Any]:
    """Write a socket address as it is told."""
    return {"address": address[0], "port": address[1]}


class WhoamiTests(TlsCase):
    """One daemon with all of them."""

    def told(self, sock: socket.socket) -> Any:
        """Read what a connection is told, up to its end."""
        with sock:
            found = json.loads(read_to_end(sock))
        self.assertEqual(found["peer"].keys() | found["local"].keys(), {"address", "port"})
        return found

    def ask(self, *words: str) -> str:
        """Run C{socketd whoami}."""
        return self.output_of("whoami", *words)

    def test_streams(self) -> None:
        """TCP, TLS with a client certificate, and a balancer with both versions of its header."""
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            sock = connect_raw(daemon, "whoami", "tcp")
            ours, theirs = endpoint(sock.getsockname()), endpoint(sock.getpeername())
            found = self.told(sock)
            self.assertEqual((found["peer"], found["local"]), (ours, theirs))
            self.assertEqual((found["service"], found["transport"]), ("whoami", "tcp"))
            self.assertEqual(found["host"], socket.gethostname())
            daemon.output.wait_for(rf"connection from .* \(whoami {found['connection']}\)$")
            context = trusting_context(client=self.client_file("client.example.org"))
            context.set_alpn_protocols(["http/1.1"])
            client = start_tls(connect_raw(daemon, "secret"), context)
            version = client.version()
            found = self.told(client)
            self.assertEqual(found["tls"].pop("version"), version)
            self.assertTrue(found["tls"].pop("cipher").startswith("TLS_"))
            names = ["CN=subject", "client.example.org"]
            agreed = {"sni": NAME, "alpn": "http/1.1", "client": names}
            self.assertEqual(found["tls"], agreed)
            self.assertNotIn("host", found)
            self.check_proxied(daemon)

    def check_proxied(self, daemon: Any) -> None:
        """Ask behind a balancer, in plain text and through TLS."""
        for header in (v1("2001:db8::7"), v2_tcp("2001:db8::7")):
            for service, kind in (("proxied", "tcp"), ("behind", "tls")):
                sock = connect_raw(daemon, service, kind)
                balancer = endpoint(sock.getsockname())
                sock.sendall(header)
                found = self.told(start_tls(sock) if kind == "tls" else sock)
                self.assertEqual(found["peer"], endpoint(("2001:db8::7", 4711)))
                self.assertEqual(found["local"], endpoint(("::1", 7)))
                self.assertEqual(found["proxy"], balancer)
                self.assertEqual("tls" in found, kind == "tls")

    def test_datagrams(self) -> None:
        """
        UDP to each address of a wildcard socket tells that address; a question that is shorter
        than the answer has none.
        """
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            _, port = daemon.address("whoami", "udp")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(DEADLINE)
                sock.bind(("127.0.0.1", 0))
                for host in ("127.0.0.1", "127.0.0.7"):
                    sock.sendto(b"short", (host, port))
                    sock.sendto(b"x" * 400, (host, port))
                    answer, source = sock.recvfrom(1024)
                    found = json.loads(answer)
                    self.assertEqual(source, (host, port))
                    self.assertEqual(found["local"], endpoint((host, port)))
                    self.assertEqual(found["peer"], endpoint(sock.getsockname()))
                    self.assertEqual((found["transport"], "connection" in found), ("udp", False))
                sock.sendto(b"x" * 48, daemon.address("brief", "udp"))
                expected = "127.0.0.1 {}\n".format(sock.getsockname()[1])
                self.assertEqual(sock.recv(1024), expected.encode())

    def test_no_answer(self) -> None:
        """One that answers nothing is no whoami service, and that is a failure."""
        with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
            address = "{}:{}".format(*silent.getsockname())
            asking = pool.submit(self.run_socketd, "whoami", address)
            silent.accept()[0].close()
            ended = asking.result()
        self.assertEqual((ended.status, ended.output), (1, ""))
        self.assertIn("the peer has answered nothing; if it speaks TLS", ended.errors)

    def test_command(self) -> None:
        """C{socketd whoami} prints what it is told: by UDP its question is as long as it takes."""
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            _, port = daemon.address("whoami", "tcp")
            self.assertEqual(json.loads(self.ask(f"127.0.0.1:{port}"))["transport"], "tcp")
            _, port = daemon.address("whoami", "udp")
            found = json.loads(self.ask(f"udp:127.0.0.1:{port}"))
            self.assertEqual(found["local"], endpoint(("127.0.0.1", port)))
            wordy = self.ask("{}:{}".format(*daemon.address("wordy", "tcp")))
            self.assertIn("service: wordy\ntransport: tcp\npeer: 127.0.0.1 ", wordy)
            for path, scheme in (("who.sock", "unix"), ("who.gram", "unixgram")):
                found = json.loads(self.ask(f"{scheme}:{self.directory}/{path}"))
                self.assertEqual(found["local"], {"path": os.fspath(self.directory / path)})
                self.assertEqual(found["peer"]["path"] is None, scheme == "unix")
            secret = "{}:{}".format(*daemon.address("secret", "tls"))
            client = str(self.client_file("client.example.org"))
            tls = ["--tls", "--ca", f"{self.directory}/ca.pem", "--server-name", NAME]
            told = self.ask(secret, *tls, "--cert", client)
            self.assertEqual(json.loads(told)["tls"]["client"][1:], ["client.example.org"])
