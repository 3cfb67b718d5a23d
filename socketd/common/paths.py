"""Default paths of the configuration and of the runtime directory."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

#: The environment variable of the configuration path, if the command line has none.
CONFIG_VARIABLE = "SOCKETD_CONFIG"

#: The operator's configuration, and the one installed with the package.
SYSTEM_FILE = "/etc/socketd/socketd.ini"
INSTALLED_FILE = "etc/socketd/socketd.ini"

#: The C{RuntimeDirectory=} of the system-wide daemon.
SYSTEM_RUNTIME = "/run/socketd"

#: The mode bits with which other users can replace the files of a directory.
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_config(named: str | None, environ: Mapping[str, str]) -> str:
    """
    Choose the configuration file: the first of C{named}, C{$SOCKETD_CONFIG},
    C{/etc/socketd/socketd.ini} if it exists, and the installed file under C{sys.prefix}.
    """
    if named is not None:
        return named
    if environ.get(CONFIG_VARIABLE):
        return environ[CONFIG_VARIABLE]
    installed = str(Path(sys.prefix, INSTALLED_FILE))
    return SYSTEM_FILE if Path(SYSTEM_FILE).exists() else installed


def runtime_directory(environ: Mapping[str, str], uid: int) -> str:
    """
    Choose the directory for UNIX sockets: systemd's C{$RUNTIME_DIRECTORY}; else C{socketd} in
    the user's C{$XDG_RUNTIME_DIR}; else C{/tmp/socketd-UID}.
    """
    if environ.get("RUNTIME_DIRECTORY"):
        return environ["RUNTIME_DIRECTORY"].split(":")[0]
    if environ.get("XDG_RUNTIME_DIR"):
        return f"{environ['XDG_RUNTIME_DIR']}/socketd"
    return f"/tmp/socketd-{uid}"


def state_directory(environ: Mapping[str, str]) -> str:
    """
    Choose the directory for what outlives the daemon: systemd's C{$STATE_DIRECTORY}; else
    C{socketd} in the user's C{$XDG_STATE_HOME}, C{~/.local/state} by default, or in C{/var/lib} if
    the user has no home.
    """
    if environ.get("STATE_DIRECTORY"):
        return environ["STATE_DIRECTORY"].split(":")[0]
    home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return f"{home if os.path.isabs(home) else '/var/lib'}/socketd"


def make_private(directory: str) -> None:
    """
    Create a directory with mode 0700, or check that an existing one is writable by its
    owner only.

    @raise OSError: if it cannot be created, or if another user owns it or can write to it.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & OTHERS_WRITE
    if not is_private or found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not a private directory of this user")
