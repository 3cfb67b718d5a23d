"""C{socketd unit}: a systemd unit with the least privileges that a configuration needs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

from socketd.cli.common.output import emit, note
from socketd.cli.system.check import refuse
from socketd.cli.system.unit_network import needs_addresses, network_lines, privilege_lines
from socketd.common.errors import GOOD
from socketd.common.paths import SYSTEM_RUNTIME, find_config
from socketd.configuration import configure
from socketd.settings.diagnostics import SettingsError
from socketd.settings.model import Settings

_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

DESCRIPTION = """
Prints socketd.service for one configuration: a capability only for ports below 1024, no ports but
those of its listeners, no address families and networks but those that it serves. Write it to
/etc/systemd/system/socketd.service, and again when the listeners change.
"""

#: Minimum C{LimitNOFILE=}: more than the connections without a C{max_connections}.
DESCRIPTORS = 65536

#: Descriptors for everything except connections; the daemon reserves fewer.
RESERVED = 1024

#: Seconds of C{TimeoutStopSec=} after the drain timeout.
STOP_MARGIN = 10

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
TasksMax=128
OOMScoreAdjust=-100
RuntimeDirectory=socketd
RuntimeDirectoryMode=0750
StateDirectory=socketd
StateDirectoryMode=0700
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


def path_lines(settings: Settings, read: Iterable[str]) -> Iterator[str]:
    """List the lines that make sockets, and the files that the daemon reads, accessible."""
    sockets = [os.path.abspath(path) for path in _sockets(settings)]
    # What is in the state directory begins with its name.
    written = (path for service in settings.services for path in service.written)
    sockets += filter(os.path.isabs, written)
    # Both the path and its target: /etc may contain a symbolic link to a home directory.
    every = {*sockets, *map(os.path.abspath, read)}
    every |= set(map(os.path.realpath, every))
    yield f"ProtectHome={'read-only' if any(_is_in(_HOMES, one) for one in every) else 'yes'}"
    if not all(map(os.path.isabs, [*_sockets(settings), *settings.files])):
        # The only setting whose path is never quoted.
        yield f"WorkingDirectory={os.getcwd().replace('%', '%%')}"
    runtime = (Path(SYSTEM_RUNTIME),)
    parents = {os.path.dirname(path) for path in sockets if not _is_in(runtime, path)}
    for directory in sorted(parents):
        if not _is_in(_TEMPORARY, directory):
            yield f"ReadWritePaths={_path(directory)}"
        elif Path(directory) not in _TEMPORARY:
            yield f"BindPaths={_bind_path(directory)}"
    # The directory, so that a replaced file is seen, unless others share it.
    temporary = {path for path in every if _is_in(_TEMPORARY, path)} - set(sockets)
    bound = {
        path if Path(path).parent in _TEMPORARY else os.path.dirname(path) for path in temporary
    }
    for path in sorted(bound - parents):
        yield f"BindReadOnlyPaths={_bind_path(path)}"


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


def quoted(text: str) -> str:
    """Quote a word of a command line (systemd.service(5), systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in escaped)
    return escaped if escaped == text and not set(text) & set(" ';") else f'"{escaped}"'


def _sockets(settings: Settings) -> list[str]:
    listeners = [one for service in settings.services for one in service.listeners]
    return [one.path for one in (*listeners, *settings.own.values()) if one.path]


def _path(path: str) -> str:
    # Unlike in a command line, "$" is not expanded here.
    return quoted(path).replace("$$", "$")


def _bind_path(path: str) -> str:
    return _path(path).replace(":", "\\:")


def _is_in(directories: Iterable[Path], path: str) -> bool:
    return any(Path(path).is_relative_to(directory) for directory in directories)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--config", metavar="FILE", help="the INI file (default: what the daemon would read)"
    )


def run(arguments: Namespace) -> int:
    """Print the unit; the status is 78 (C{EX_CONFIG}) if the configuration is invalid."""
    file = os.path.abspath(find_config(arguments.config, os.environ))
    try:
        settings = configure(file, SYSTEM_RUNTIME).settings
    except SettingsError as error:
        return refuse(error, as_json=False)
    for problem in doubts(settings, file):
        note(f"socketd unit: {problem}")
    emit(write(settings, file, str(Path(sys.prefix, "bin", "twistd"))))
    return GOOD


def write(settings: Settings, file: str, twistd: str) -> str:
    """Return the text of the unit for absolute paths, with L{SYSTEM_RUNTIME} for C{{runtime}}."""
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
    lines = [*privilege_lines(settings), *network_lines(settings), *path_lines(settings, read)]
    return head + "\n".join(lines) + "\n" + _TAIL
