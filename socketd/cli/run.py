"""
C{socketd run}: the daemon in the foreground, by twistd.
"""

from __future__ import annotations

import sys
from argparse import REMAINDER, ArgumentParser, Namespace

NAME = "run"
HELP = "run the daemon in the foreground"


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments: those of C{twistd socketd}.
    """
    options = "--config FILE, --console, --journal: socketd(8)"
    parser.add_argument("options", nargs=REMAINDER, help=options)


def run(arguments: Namespace) -> int:
    """
    Hand over to twistd.
    """
    from twisted.scripts.twistd import run as run_twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "socketd", *arguments.options]
    run_twistd()
    return 0
