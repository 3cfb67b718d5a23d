"""C{socketd serve}: serve one protocol in the foreground, without a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from socketd.cli.common.output import note
from socketd.cli.system.run import obey_sigterm
from socketd.common.errors import BAD_CONFIGURATION, GOOD
from socketd.common.table import render
from socketd.protocols.registry import installed
from socketd.settings.diagnostics import SettingsError
from socketd.settings.options import declared

EXAMPLES = r"""
examples:
  socketd serve echo tcp:7007 udp:7007
  socketd serve reply tcp:0 reply='hello\n' close=yes
  socketd serve ack tcp:7007 --console
  socketd serve echo tcp:7007:interface=0.0.0.0 log_messages=text
  socketd serve echo tcp:0 fault.latency=50ms --json

Options are those of a service in the file, and those of [socketd]; fault.OPTION is an option
of a fault profile. docs/options.md has all of them.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("protocol", metavar="PROTOCOL", help="what is spoken, such as echo")
    parser.add_argument(
        "listeners",
        metavar="LISTENER",
        nargs="+",
        help="where it is served, such as tcp:7007, udp:7007 or unix:PATH; port 0 is any free one,"
        " and without interface=ADDRESS it is on loopback",
    )
    options = parser.add_argument(
        "options", metavar="OPTION=VALUE", nargs="*", help="an option, as in the file"
    )
    # Or argparse says that one has to be there.
    options.required = False
    parser.add_argument(
        "--json", action="store_true", help="print the bound addresses as one line of JSON"
    )
    parser.add_argument(
        "--console", action="store_true", help="make this terminal the operator's console"
    )


def explain(parser: ArgumentParser, argv: Sequence[str]) -> None:
    """Add to the help: the protocols, or the own options of the one that is named; examples."""
    parser.formatter_class = RawDescriptionHelpFormatter
    protocols = installed()
    named = next((word for word in argv if word in protocols), None)
    if named is None:
        parser.epilog = f"protocols: {', '.join(sorted(protocols))}\n{EXAMPLES}"
        return
    rows = [
        (f"{found.name}={found.type.syntax}", found.help)
        for found in declared(protocols[named].options).values()
    ]
    table = render((f"OPTIONS OF {named}", ""), rows) if rows else ""
    parser.epilog = f"{table}{EXAMPLES}"


def run(arguments: Namespace) -> int:
    """Run twistd in this process; the status is 78 (C{EX_CONFIG}) for bad arguments."""
    obey_sigterm()
    from twisted.scripts import twistd

    from socketd.cli.system.serve_arguments import configure_arguments
    from socketd.tap import Options, makeService

    config: Any = twistd.ServerOptions()  # type: ignore[attr-defined]
    config.parseOptions(["--nodaemon", "--no_save", "--pidfile="])
    options = Options()
    options.parent, options["console"] = config, arguments.console
    options.announced = "json" if arguments.json else "console" if arguments.console else "text"
    words = (arguments.protocol, *arguments.listeners, *arguments.options)
    read = partial(configure_arguments, words)
    try:
        options.configure(read, read)
    except SettingsError as error:
        for diagnostic in error.diagnostics:
            note(f"socketd serve: {diagnostic}")
        return BAD_CONFIGURATION
    # As if twistd had found it among its plugins, and read its options.
    name = "serve"
    plugin = SimpleNamespace(tapname=name, makeService=makeService)
    config.subCommand, config.subOptions, config.loadedPlugins = name, options, {name: plugin}
    twistd.runApp(config)
    return GOOD
