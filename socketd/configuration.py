"""
A configuration as this machine can have it: read, and its socket options tried.
"""

from __future__ import annotations

from socketd.net.sockopts import try_out
from socketd.protocols.registry import installed
from socketd.settings.load import load
from socketd.settings.model import Settings

#: sysexits.h: EX_CONFIG.  systemd is told not to start again after it.
EXIT_CONFIG = 78


def configure(file: str, runtime: str) -> Settings:
    """
    Read a configuration; nothing is bound.

    @param file: its path.
    @param runtime: the directory for UNIX sockets.
    @raise SettingsError: with all complaints.
    """
    return load(file, installed(), runtime, try_out)
