"""Who is measured: one row per server."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.held import HELD_SOCKET
from bench.load import BUILD, program
from bench.peers.asked import BODY
from bench.peers.conversation import ANSWER, QUESTION
from bench.peers.listening import BACKLOG, BESIDE, HOST
from bench.shares import LOSSY

#: Where peers are written.
PEERS = Path(__file__).parent / "peers"

#: Where programs of the system's administrator are, should PATH leave them out.
SYSTEM_PATH = "/usr/sbin:/sbin"

#: The packages of programs that are not called like them.
PACKAGES = {"go": "golang-go", "chronyd": "chrony"}

SOCKETD_INI = """\
[echo]
listen = tcp:{port}:interface={host}
log_connections = no
[time]
listen = udp:{port}:interface={host}
"""

#: The same with a status page.
SOCKETD_VIEWED_INI = f"[socketd]\nhttp = unix:{{folder}}/page.sock\n{SOCKETD_INI}"

#: The same with TLS: in plain it is asked whether it answers, at another address.
SOCKETD_TLS_INI = """\
[echo]
listen = tcp:{port}:interface={host}, tls:{port}:interface={beside}
tls_certificate = {folder}/server.pem
tls_key = {folder}/server.key
log_connections = no
"""

#: The latency of a profile (milliseconds); one that is as long as none of its messages is seen.
LATENCY = 50
SOCKETD_LATE_INI = f"""\
[fault:late]
latency = {LATENCY}ms
[fault:held]
latency = 1h
[defaults]
log_connections = no
[echo]
listen = tcp:{{port}}:interface={{host}}
fault = late
[held]
protocol = echo
listen = unix:{{folder}}/{HELD_SOCKET}
fault = held
"""

#: What is measured by datagrams at the other address.
SOCKETD_LOSSY_INI = """\
[fault:lossy]
{lossy}
[echo]
listen = tcp:{port}:interface={host}
[lossy]
protocol = echo
listen = udp:{port}:interface={beside}
fault = lossy
"""

#: A rule of each kind, which does not match.
OTHER_RULES = (
    '"AT+X{0}" -> "OK {0}\\r\\n"',
    'prefix "AT+P{0}" -> "OK {0}\\r\\n"',
    'contains "status {0}" -> "up\\r\\n"',
    '/AT\\+R{0}=(\\d+)/ -> "+R: \\1\\r\\n"',
)

#: Rules at the other address.
SOCKETD_RULES_INI = """\
[echo]
listen = tcp:{port}:interface={host}
[reply]
listen = tcp:{port}:interface={beside}
log_connections = no
framing = line
rules =
{rules}
"""

#: A page and WebSocket at the other address.
SOCKETD_HTTP_INI = """\
[echo]
listen = tcp:{port}:interface={host}
[http]
listen = tcp:{port}:interface={beside}
response = {folder}/page.txt
max_requests = 1000000
log_connections = no
"""

#: The library that the load generator and every server speak TLS with.
TLS_LIBRARY = "libssl.so.3"

#: A server of the time.
SOCKETD_NTP_INI = """\
[ntp]
listen = udp:{port}:interface={host}
assume_synchronised = yes
"""

#: The same with NTS, whose keys are got at the same port over TLS.
SOCKETD_NTS_INI = f"""\
{SOCKETD_NTP_INI}nts = nts-ke
[nts-ke]
listen = tls:{{port}}:interface={{host}}
tls_certificate = {{folder}}/server.pem
tls_key = {{folder}}/server.key
keys = {{folder}}/nts.keys
ntp_port = {{port}}
log_connections = no
"""

#: A reflector.
SOCKETD_STAMP_INI = """\
[stamp]
listen = udp:{port}:interface={host}
"""

#: A server of the time, which serves this machine only and has all its files in its folder.
CHRONY_CONF = """\
port {port}
bindaddress {host}
allow 127.0.0.0/8
local stratum 10
cmdport 0
bindcmdaddress /
pidfile {folder}/chronyd.pid
"""

#: The same with NTS.
CHRONY_NTS_CONF = f"""\
{CHRONY_CONF}ntsport {{port}}
ntsservercert {{folder}}/server.pem
ntsserverkey {{folder}}/server.key
"""

#: A relay to the C echo, which is at the other address.
HAPROXY_CONF = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen echo
    bind {host}:{port} backlog {backlog}
    server echo {beside}:{port}
"""

#: Nothing that would slow it down: no limit, no log, no look-up in hosts.allow.
XINETD_CONF = """\
defaults
{{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 10000000 1
    bind = {host}
}}
service echo
{{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    port = {port}
    wait = no
    flags = NOLIBWRAP
}}
service time
{{
    type = INTERNAL UNLISTED
    id = time-dgram
    socket_type = dgram
    protocol = udp
    port = {port}
    wait = yes
    flags = NOLIBWRAP
}}
"""


@dataclass(frozen=True)
class Place:
    """
    Where a server is to run.

    @ivar port: the number to serve at, streams and datagrams alike.
    @ivar folder: a temporary one, for its configuration.
    @ivar reactor: what twistd is told to use; empty: its own choice.
    """

    port: int
    folder: Path
    reactor: str = ""

    @property
    def log(self) -> Path:
        """Where everything goes that the server says."""
        return self.folder / "server.log"


@dataclass(frozen=True)
class Server:
    """
    One server.

    @ivar command: the command line that serves at a place.
    @ivar missing: why it cannot be measured here; empty if it can.
    """

    name: str
    title: str
    command: Callable[[Place], list[str]]
    missing: Callable[[], str]


def _socketd(text: str, place: Place, **fields: str) -> list[str]:
    """The daemon as it is run everywhere, with a configuration."""
    ini = place.folder / "socketd.ini"
    known = {"port": place.port, "host": HOST, "beside": BESIDE, "folder": place.folder}
    ini.write_text(text.format(**known, **fields))
    reactor = [f"--reactor={place.reactor}"] if place.reactor else []
    daemon = ["--nodaemon", "--pidfile=", *reactor, "socketd", "--config", str(ini)]
    return [str(_twistd()), *daemon]


def _two(text: str, place: Place) -> list[str]:
    """The daemon with two workers, which share what comes by the flow: the load is one source."""
    return _socketd(f"[socketd]\nworkers = 2\nbalance = flow\n{text}", place)


def _socketd_viewed(place: Place) -> list[str]:
    """The daemon with a status page, and eight viewers, which take its core's time, too."""
    command = _socketd(SOCKETD_VIEWED_INI, place)
    page = str(place.folder / "page.sock")
    viewers = [sys.executable, "-m", "bench.peers.viewers", "--socket", page]
    return _with(viewers, command)


def _socketd_lossy(place: Place) -> list[str]:
    """The daemon with datagrams that get lost."""
    return _socketd(SOCKETD_LOSSY_INI, place, lossy=LOSSY)


def _socketd_rules(count: int, place: Place) -> list[str]:
    """The daemon with rules, of which the last one matches."""
    return _socketd(SOCKETD_RULES_INI, place, rules="".join(rule_lines(count)))


def _socketd_http(place: Place) -> list[str]:
    """The daemon with a page."""
    (place.folder / "page.txt").write_text(BODY)
    return _socketd(SOCKETD_HTTP_INI, place)


def _go(name: str, place: Place) -> list[str]:
    """A peer written in Go, which L{_no_go} has built."""
    return [str(BUILD / name), "--port", str(place.port)]


def rule_lines(count: int) -> list[str]:
    """Rules of all kinds in turn, which do not match; and the last one, for the whole message."""
    others = [OTHER_RULES[n % len(OTHER_RULES)].format(n) for n in range(count - 1)]
    question, answer = (repr(text)[1:-1] for text in (QUESTION.rstrip(), ANSWER))
    return [f"    {rule}\n" for rule in (*others, f'"{question}" -> "{answer}"')]


def _python_tls(name: str, place: Place) -> list[str]:
    """A peer written in Python, which is told where its certificate is."""
    return [*_python(name, place), "--certificates", str(place.folder)]


def _certified(command: Callable[[Place], list[str]], place: Place) -> list[str]:
    """A server with a certificate: the same kind for all, ECDSA with P-256."""
    folder = str(place.folder)
    make = [sys.executable, "-m", "socketd", "certificate", "--directory", folder, "localhost"]
    subprocess.run(make, check=True, capture_output=True)
    return command(place)


def _xinetd(place: Place) -> list[str]:
    """Its internal services, in the foreground."""
    conf = place.folder / "xinetd.conf"
    conf.write_text(XINETD_CONF.format(port=place.port, host=HOST))
    pid = str(place.folder / "xinetd.pid")
    options = ["-f", str(conf), "-filelog", str(place.log), "-pidfile", pid]
    return [find_program("xinetd") or "xinetd", "-dontfork", *options]


def chronyd(*options: str) -> list[str]:
    """chronyd in the foreground, as the user who starts it; it never sets a clock."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return [find_program("chronyd") or "chronyd", "-x", "-d", "-U", "-u", user, *options]


def _chronyd(text: str, place: Place) -> list[str]:
    """A server of the time."""
    conf = place.folder / "chrony.conf"
    conf.write_text(text.format(port=place.port, host=HOST, folder=place.folder))
    return chronyd("-f", str(conf))


def _haproxy(place: Place) -> list[str]:
    """A relay, and what it relays to, which takes its core's time, too."""
    conf = place.folder / "haproxy.cfg"
    fields = {"port": place.port, "host": HOST, "beside": BESIDE, "backlog": BACKLOG}
    conf.write_text(HAPROXY_CONF.format(**fields))
    relay = [find_program("haproxy") or "haproxy", "-db", "-f", str(conf)]
    return _with([*_compiled("epoll_echo", place), "--beside"], relay)


def _with(first: list[str], command: list[str]) -> list[str]:
    """A command, and another one that it has for a child."""
    return ["bash", "-c", f"{shlex.join(first)} & exec {shlex.join(command)}"]


def _socat(place: Place) -> list[str]:
    """
    One process per connection, echoing through a pipe of its own: three times as fast as
    C{EXEC:cat}, which needs a second process.
    """
    listen = f"TCP-LISTEN:{place.port},bind={HOST},fork,reuseaddr,backlog={BACKLOG}"
    return [find_program("socat") or "socat", listen, "PIPE"]


def _compiled(name: str, place: Place) -> list[str]:
    """A peer written in C."""
    return [str(program(name)), "--port", str(place.port)]


def _python(name: str, place: Place) -> list[str]:
    """A peer written in Python."""
    return [sys.executable, "-m", f"bench.peers.{name}", "--port", str(place.port)]


def _twistd() -> Path:
    """The twistd that belongs to this interpreter."""
    return Path(sys.executable).parent / "twistd"


def find_program(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def _no_socketd() -> str:
    """Why socketd cannot be started."""
    if not _twistd().exists():
        return "there is no twistd beside this Python"
    return _no_module("socketd")


def _no_tls(module: str) -> str:
    """Why TLS cannot be measured: the load generator needs OpenSSL's library, too."""
    try:
        ctypes.CDLL(TLS_LIBRARY)
    except OSError:
        return f"{TLS_LIBRARY} is not installed (apt-get install libssl3)"
    return _no_socketd() or _no_module(module)


def _no_module(name: str) -> str:
    """Why a Python peer cannot be started."""
    return "" if importlib.util.find_spec(name) else f"Python module {name} is not installed"


def _no_program(name: str) -> str:
    """Why an installed program cannot be started."""
    package = PACKAGES.get(name, name)
    return "" if find_program(name) else f"{name} is not installed (apt-get install {package})"


def _no_go(name: str) -> str:
    """Why a peer written in Go cannot be started; it is built if it can be."""
    if missing := _no_program("go"):
        return missing
    BUILD.mkdir(exist_ok=True)
    command = [find_program("go") or "go", "build", "-o", str(BUILD / name), f"{PEERS / name}.go"]
    done = subprocess.run(command, capture_output=True, text=True)
    return f"{name}.go cannot be built: {done.stderr}" if done.returncode else ""


def _never() -> str:
    """For what is always there."""
    return ""


SERVERS = (
    Server("socketd", "socketd", partial(_socketd, SOCKETD_INI), _no_socketd),
    Server(
        "socketd-late",
        f"socketd, latency = {LATENCY}ms",
        partial(_socketd, SOCKETD_LATE_INI),
        _no_socketd,
    ),
    Server("socketd-lossy", "socketd, lossy", _socketd_lossy, _no_socketd),
    Server("socketd-rule", "socketd, 1 rule", partial(_socketd_rules, 1), _no_socketd),
    Server("socketd-rules", "socketd, 100 rules", partial(_socketd_rules, 100), _no_socketd),
    Server("socketd-ntp", "socketd, NTP", partial(_socketd, SOCKETD_NTP_INI), _no_socketd),
    Server(
        "socketd-nts",
        "socketd, NTS",
        partial(_certified, partial(_socketd, SOCKETD_NTS_INI)),
        _no_socketd,
    ),
    Server("socketd-two", "socketd, 2 workers", partial(_two, SOCKETD_INI), _no_socketd),
    Server(
        "socketd-ntp-two",
        "socketd, NTP, 2 workers",
        partial(_two, SOCKETD_NTP_INI),
        _no_socketd,
    ),
    Server(
        "socketd-nts-two",
        "socketd, NTS, 2 workers",
        partial(_certified, partial(_two, SOCKETD_NTS_INI)),
        _no_socketd,
    ),
    Server(
        "socketd-tls-two",
        "socketd, TLS, 2 workers",
        partial(_certified, partial(_two, SOCKETD_TLS_INI)),
        partial(_no_tls, "OpenSSL"),
    ),
    Server("socketd-stamp", "socketd, STAMP", partial(_socketd, SOCKETD_STAMP_INI), _no_socketd),
    Server("socketd-viewed", "socketd, 8 viewers", _socketd_viewed, _no_socketd),
    Server("c-epoll", "C epoll", partial(_compiled, "epoll_echo"), _never),
    Server("c-udp", "C recvfrom/sendto", partial(_compiled, "udp_time"), _never),
    Server("uvloop", "uvloop", partial(_python, "uvloop_echo"), partial(_no_module, "uvloop")),
    Server("asyncio", "asyncio", partial(_python, "asyncio_echo"), _never),
    Server("twisted", "plain Twisted", partial(_python, "twisted_plain"), _never),
    Server(
        "socketd-tls",
        "socketd, TLS",
        partial(_certified, partial(_socketd, SOCKETD_TLS_INI)),
        partial(_no_tls, "OpenSSL"),
    ),
    Server(
        "asyncio-tls",
        "asyncio, TLS",
        partial(_certified, partial(_python_tls, "asyncio_tls")),
        partial(_no_tls, "ssl"),
    ),
    Server(
        "twisted-tls",
        "plain Twisted, TLS",
        partial(_certified, partial(_python_tls, "twisted_tls")),
        partial(_no_tls, "OpenSSL"),
    ),
    Server("socketd-http", "socketd, http", _socketd_http, _no_socketd),
    Server("twisted-web", "plain twisted.web", partial(_python, "twisted_web"), _never),
    Server(
        "uvicorn", "uvicorn, httptools", partial(_python, "uvicorn_http"),
        partial(_no_module, "httptools"),
    ),
    Server(
        "websockets", "websockets", partial(_python, "websockets_echo"),
        partial(_no_module, "websockets"),
    ),
    Server("go", "Go net", partial(_go, "go_net"), partial(_no_go, "go_net")),
    Server("go-http", "Go net/http", partial(_go, "go_net"), partial(_no_go, "go_net")),
    Server("asyncio-reply", "asyncio, by hand", partial(_python, "asyncio_reply"), _never),
    Server("twisted-reply", "plain Twisted, by hand", partial(_python, "twisted_reply"), _never),
    Server("threads", "thread per connection", partial(_python, "threads_echo"), _never),
    Server("haproxy", "haproxy before C epoll", _haproxy, partial(_no_program, "haproxy")),
    Server("chronyd", "chronyd", partial(_chronyd, CHRONY_CONF), partial(_no_program, "chronyd")),
    Server(
        "chronyd-nts",
        "chronyd, NTS",
        partial(_certified, partial(_chronyd, CHRONY_NTS_CONF)),
        partial(_no_program, "chronyd"),
    ),
    Server("xinetd", "xinetd", _xinetd, partial(_no_program, "xinetd")),
    Server("socat", "socat", _socat, partial(_no_program, "socat")),
)

BY_NAME = {server.name: server for server in SERVERS}
