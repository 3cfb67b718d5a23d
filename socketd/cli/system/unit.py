"""C{socketd unit}: a systemd unit with the least privileges that a configuration needs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from math import ceil
from pathlib import Path

from socketd.cli.common.output import emit, note
from socketd.common.errors import BAD_CONFIGURATION, GOOD
from socketd.configuration import configure
from socketd.settings.diagnostics import SettingsError
from socketd.settings.listeners import Listener
from socketd.settings.model import Service, Settings
from socketd.settings.networks import ANY, INTERNAL, Network, network_words
from socketd.settings.paths import find_config

NAME = "unit"
HELP = "print a systemd unit with just the ports and networks that a configuration needs"

DESCRIPTION = """
Prints socketd.service for one configuration: a capability only for ports below 1024, no ports but
those of its listeners, no address families and networks but those that it serves. Write it to
/etc/systemd/system/socketd.service, and again when the listeners change.
"""

#: The directory that C{RuntimeDirectory=} creates.
RUNTIME = "/run/socketd"

#: Lower ports need C{CAP_NET_BIND_SERVICE}, unless ip_unprivileged_port_start is changed.
LOW_PORTS = 1024

#: Limit on C{SocketBindAllow=} rules; with more, systemd ignores all of them.
MAX_RULES = 128

#: Minimum C{LimitNOFILE=}: more than the connections without a C{max_connections}.
DESCRIPTORS = 65536

#: Descriptors for everything except connections; the daemon reserves fewer.
RESERVED = 1024

#: Seconds of C{TimeoutStopSec=} after the drain timeout.
STOP_MARGIN = 10

_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

_HEAD = """\
# Written by "socketd unit" from {config}
[Unit]
Description=socketd, which answers sockets
Documentation=file:///usr/share/doc/socketd/README.md
After=network{online}.target
{wants}StartLimitIntervalSec=60
StartLimitBurst=20

[Service]
Type=notify
ExecStart={twistd} --nodaemon --pidfile= socketd --config {config}
ExecReload=/bin/sh -c 'kill -HUP ${{MAINPID}}'
Restart=on-failure
RestartSec=200ms
RestartPreventExitStatus=78
WatchdogSec=30
TimeoutStartSec=30
TimeoutStopSec={stop}
TimeoutAbortSec=5
LimitNOFILE={descriptors}
TasksMax=64
OOMScoreAdjust=-100
RuntimeDirectory=socketd
RuntimeDirectoryMode=0750
UMask=0077
DynamicUser=yes
User=socketd
NoNewPrivileges=yes
"""

_TAIL = """\
ProtectSystem=strict
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=adjtimex clock_adjtime
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    @param parser: the parser of this subcommand.
    """
    parser.description = DESCRIPTION
    parser.add_argument(
        "--config", metavar="FILE", help="the INI file (default: what the daemon would read)"
    )


def run(arguments: Namespace) -> int:
    """
    Print the unit.

    @param arguments: the parsed arguments.
    @return: 0, or 78 (C{EX_CONFIG}) if the configuration is invalid.
    """
    file = os.path.abspath(find_config(arguments.config, os.environ))
    try:
        settings = configure(file, RUNTIME).settings
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    for problem in doubts(settings, file):
        note(f"socketd unit: {problem}")
    emit(write(settings, file, str(Path(sys.prefix, "bin", "twistd"))))
    return GOOD


def write(settings: Settings, file: str, twistd: str) -> str:
    """
    Return the text of the unit.

    @param settings: the settings, with L{RUNTIME} for C{{runtime}}.
    @param file: the absolute path of the file.
    @param twistd: the absolute path of twistd.
    """
    online = needs_addresses(settings)
    head = _HEAD.format(
        config=quoted(file),
        twistd=quoted(twistd),
        online="-online" if online else "",
        wants="Wants=network-online.target\n" if online else "",
        stop=ceil(settings.daemon.drain_timeout) + STOP_MARGIN,
        descriptors=max(DESCRIPTORS, (settings.daemon.max_connections or 0) + RESERVED),
    )
    # In a virtual environment a symbolic link, often to a file below a home directory.
    python = os.path.realpath(Path(twistd).parent / "python")
    read = [file, twistd, python, *settings.files]
    lines = [*_capabilities(settings), *_networks(settings), *_files(settings, read)]
    return f"{head}{''.join(f'{line}{chr(10)}' for line in lines)}{_TAIL}"


def doubts(settings: Settings, file: str) -> Iterator[str]:
    """List paths that the daemon or its clients may not find, in spite of the unit."""
    for path in (file, *settings.files):
        if _is_in(_TEMPORARY, os.path.realpath(path)):
            yield f"{path}: temporary files are removed with time; /etc/socketd would be right"
    for path in map(os.path.abspath, _sockets(settings)):
        if Path(path).parent in _TEMPORARY:
            yield (
                f"{path}: the daemon has a {Path(path).parent} of its own, where no client finds"
                f" it; {{runtime}}/{Path(path).name} would be right"
            )


def bound(settings: Settings) -> list[Listener]:
    """List the network listeners that the daemon binds itself."""
    listeners = [listener for service in settings.services for listener in service.listeners]
    if settings.http is not None:
        listeners.append(settings.http)
    return [one for one in listeners if not one.is_inherited and not one.path]


def needs_addresses(settings: Settings) -> bool:
    """Return whether a listener has an address that may exist only after the network is up."""
    return any(not (is_loopback(one) or _is_wildcard(one)) for one in bound(settings))


def is_loopback(listener: Listener) -> bool:
    """Return whether a listener is bound to a loopback address."""
    try:
        return ip_address(listener.interface).is_loopback
    except ValueError:
        return False


def rules(listeners: Iterable[Listener]) -> list[str]:
    """
    Return the C{SocketBindAllow=} rules, such as C{ipv4:tcp:7}.

    @return: rules without ports where there are more than L{MAX_RULES}, or where the kernel
        chooses the port.
    """
    kinds = [_kind(listener) for listener in listeners]
    exact = dict.fromkeys(f"{kind}:{port}" if port else kind for kind, port in kinds)
    if len(exact) > MAX_RULES:
        return list(dict.fromkeys(kind for kind, _ in kinds))
    return list(exact)


def peers(settings: Settings) -> set[Network] | None:
    """
    Return the networks of the C{IPAddressAllow=} rules.

    The daemon itself enforces C{deny}: in systemd, allow rules take precedence.

    @return: C{None} if no network can be excluded.
    """
    found: set[Network] = set()
    for service in settings.services:
        for listener in service.listeners:
            if not listener.is_inherited and not listener.path:
                found.update(_peers_of(service, listener))
    if settings.http is not None and not settings.http.path:
        found.update(network_words("loopback") if is_loopback(settings.http) else ANY)
    return None if found & set(ANY) or _has_names(settings) else found


def quoted(text: str) -> str:
    """Quote a word of a command line (systemd.service(5), systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in escaped)
    return escaped if escaped == text and not set(text) & set(" ';") else f'"{escaped}"'


def _capabilities(settings: Settings) -> Iterator[str]:
    is_low = any(0 < listener.port < LOW_PORTS for listener in bound(settings))
    capability = "CAP_NET_BIND_SERVICE" if is_low else ""
    yield f"AmbientCapabilities={capability}"
    yield f"CapabilityBoundingSet={capability}"
    if not is_low and settings.control is None:
        # A private user namespace removes the capabilities, and maps the uid of every
        # operator to the overflow uid.
        yield "PrivateUsers=yes"
    if not any(one.tls for service in settings.services for one in service.listeners):
        # The TLS library's callbacks use code generated at run time (cffi).
        yield "MemoryDenyWriteExecute=yes"


def _networks(settings: Settings) -> Iterator[str]:
    listeners = bound(settings)
    yield f"RestrictAddressFamilies={' '.join(_families(listeners))}"
    yield "SocketBindDeny=any"
    for rule in rules(listeners):
        yield f"SocketBindAllow={rule}"
    if not listeners:
        yield "PrivateNetwork=yes"
    networks = peers(settings)
    if networks is not None:
        yield "IPAddressDeny=any"
        for network in sorted(networks, key=lambda one: (one.version, one)):
            yield f"IPAddressAllow={network}"


def _families(listeners: list[Listener]) -> Iterator[str]:
    # sd_notify uses a UNIX socket.
    yield "AF_UNIX"
    yield from sorted({listener.family.name for listener in listeners})
    if any(not listener.is_stream for listener in listeners):
        # Lists the local addresses; datagrams from them are not answered.
        yield "AF_NETLINK"


def _files(settings: Settings, read: Iterable[str]) -> Iterator[str]:
    sockets = [os.path.abspath(path) for path in _sockets(settings)]
    # Both the path and its target: /etc may contain a symbolic link to a home directory.
    every = {*sockets, *map(os.path.abspath, read)}
    every |= set(map(os.path.realpath, every))
    yield f"ProtectHome={'read-only' if any(_is_in(_HOMES, one) for one in every) else 'yes'}"
    if not all(map(os.path.isabs, [*_sockets(settings), *settings.files])):
        # The only setting whose path is never quoted.
        yield f"WorkingDirectory={os.getcwd().replace('%', '%%')}"
    parents = {os.path.dirname(path) for path in sockets if not _is_in((Path(RUNTIME),), path)}
    for directory in sorted(parents):
        if not _is_in(_TEMPORARY, directory):
            yield f"ReadWritePaths={_path(directory)}"
        elif Path(directory) not in _TEMPORARY:
            yield f"BindPaths={_bound_path(directory)}"
    # The directory, so that a replaced file is seen.
    temporary = {path for path in every if _is_in(_TEMPORARY, path)} - set(sockets)
    for path in sorted({_own_directory(path) for path in temporary} - parents):
        yield f"BindReadOnlyPaths={_bound_path(path)}"


def _sockets(settings: Settings) -> list[str]:
    """List the paths of all UNIX sockets."""
    listeners = [one for service in settings.services for one in service.listeners]
    return [one.path for one in (*listeners, *settings.own.values()) if one.path]


def _own_directory(path: str) -> str:
    """Return the directory of a temporary file, or the file itself if that directory is shared."""
    directory = os.path.dirname(path)
    return path if Path(directory) in _TEMPORARY else directory


def _path(path: str) -> str:
    # Unlike in a command line, "$" is not expanded here.
    return quoted(path).replace("$$", "$")


def _bound_path(path: str) -> str:
    return _path(path).replace(":", "\\:")


def _is_in(directories: Iterable[Path], path: str) -> bool:
    return any(Path(path).is_relative_to(directory) for directory in directories)


def _kind(listener: Listener) -> tuple[str, int]:
    family = "ipv6" if listener.family.name == "AF_INET6" else "ipv4"
    return f"{family}:{'tcp' if listener.is_stream else 'udp'}", listener.port


def _peers_of(service: Service, listener: Listener) -> Iterable[Network]:
    if is_loopback(listener):
        return network_words("loopback")
    if listener.proxied:
        # The TCP peer is the load balancer; allow lists networks of its clients.
        return service.policy.proxy_from
    if service.policy.allow is not None:
        return service.policy.allow
    return ANY if listener.is_stream else INTERNAL


def _is_wildcard(listener: Listener) -> bool:
    return listener.interface in ("", "0.0.0.0", "::")


def _has_names(settings: Settings) -> bool:
    """Return whether a listener has a host name, which may need a DNS lookup."""
    return any(
        not _is_wildcard(one) and not _is_address(one.interface) for one in bound(settings)
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
