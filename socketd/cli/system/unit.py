"""C{socketd unit}: a systemd unit with the least privileges that a configuration needs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from math import ceil
from pathlib import Path

from socketd.cli.common.output import emit, note
from socketd.cli.system.unit_network import needs_addresses, network_lines, privilege_lines
from socketd.cli.system.unit_paths import RUNTIME, doubts, path_lines, quoted
from socketd.common.errors import BAD_CONFIGURATION, GOOD
from socketd.common.paths import find_config
from socketd.configuration import configure
from socketd.settings.diagnostics import SettingsError
from socketd.settings.model import Settings

NAME = "unit"
HELP = "print a systemd unit with just the ports and networks that a configuration needs"

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
        settings = configure(file, RUNTIME).settings
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    for problem in doubts(settings, file):
        note(f"socketd unit: {problem}")
    emit(write(settings, file, str(Path(sys.prefix, "bin", "twistd"))))
    return GOOD


def write(settings: Settings, file: str, twistd: str) -> str:
    """Return the text of the unit for absolute paths, with L{RUNTIME} for C{{runtime}}."""
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
