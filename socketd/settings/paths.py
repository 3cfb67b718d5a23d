"""
Where a configuration and the daemon's sockets are kept.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

#: Names the configuration where the command line does not.
CONFIG_VARIABLE = "SOCKETD_CONFIG"

#: The operator's configuration, and what came with the installation.
SYSTEM_FILE = "/etc/socketd/socketd.ini"
INSTALLED_FILE = "etc/socketd/socketd.ini"


def find_config(named: str | None, environ: Mapping[str, str]) -> str:
    """
    Choose the configuration file.

    @param named: what the command line says.
    @return: that; or C{$SOCKETD_CONFIG}, C{/etc/socketd/socketd.ini}, or the
        default under the environment's prefix, whichever is there first.
    """
    if named or environ.get(CONFIG_VARIABLE):
        return named or environ[CONFIG_VARIABLE]
    installed = str(Path(sys.prefix, INSTALLED_FILE))
    return SYSTEM_FILE if Path(SYSTEM_FILE).exists() else installed


def runtime_directory(environ: Mapping[str, str], uid: int) -> str:
    """
    Choose the directory for UNIX sockets.

    @return: systemd's C{$RUNTIME_DIRECTORY}; else C{socketd} in the user's
        C{$XDG_RUNTIME_DIR}; else C{/tmp/socketd-UID}.
    """
    if environ.get("RUNTIME_DIRECTORY"):
        return environ["RUNTIME_DIRECTORY"].split(":")[0]
    if environ.get("XDG_RUNTIME_DIR"):
        return f"{environ['XDG_RUNTIME_DIR']}/socketd"
    return f"/tmp/socketd-{uid}"


def make_private(directory: str) -> None:
    """
    Make a directory that only its owner can use, or check that only it can write there.

    @raise OSError: if it cannot be made, or somebody else could have made it.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{directory} is not a private directory of this user")
