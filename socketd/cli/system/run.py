"""C{socketd run}: run the daemon in the foreground with twistd."""

from __future__ import annotations

import os
import signal
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from typing import Any

from socketd.common.errors import GOOD, USAGE, CommandError, Terminated


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments, which are those of C{twistd socketd}."""
    parser.add_argument(
        "options", nargs=REMAINDER, help="the INI file, or options of twistd socketd"
    )


def obey_sigterm() -> None:
    """
    Let SIGTERM end the process until the daemon handles it: the first process of a container
    has no default actions (pid_namespaces(7)), so a stop during the start would be lost.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def run(arguments: Namespace) -> int:
    """Run twistd in this process."""
    obey_sigterm()
    from twisted.python.usage import UsageError
    from twisted.scripts import twistd

    options = list(arguments.options)
    if options and not options[0].startswith("-"):
        options[:1] = ["--config", options[0]]
    # twistd and its plugins read their command line from here.
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "socketd", *options]
    config: Any = twistd.ServerOptions()  # type: ignore[attr-defined]
    try:
        config.parseOptions(sys.argv[1:])
    except UsageError as error:
        raise CommandError(f"{error}; see socketd run --help", USAGE) from error
    twistd.runApp(config)
    return GOOD
