"""
The control commands: what a daemon takes at its console and its control socket.

This table is the only declaration: L{socketd.control.commands} attaches a function to each
command; command line, completion and manual pages read it.
"""

from __future__ import annotations

from attrs import frozen

from socketd.common.errors import USAGE, CommandError

#: The log levels that C{log-level} takes.
LEVELS = ("debug", "info", "warn", "error")

#: The keys of a JSON request besides the arguments: the command, and the bytes of the argument
#: TEXT in Base64.
COMMAND, DATA = "command", "data"


@frozen
class Argument:
    """
    One argument of a command.

    @ivar name: its name in the help; in lower case, its key in a JSON request.
    @ivar keyword: the word that precedes it in a line, as in C{for DURATION}.
    @ivar is_text: whether it is the rest of the line, spaces included, and may be any bytes.
    @ivar on_command_line: whether C{socketd} takes it, too.
    """

    name: str
    help: str
    is_required: bool = True
    keyword: str = ""
    choices: tuple[str, ...] = ()
    is_text: bool = False
    on_command_line: bool = True

    @property
    def key(self) -> str:
        """Its key in a JSON request."""
        return self.name.lower()

    @property
    def label(self) -> str:
        """Its name in the help, with its keyword."""
        return f"{self.keyword} {self.name}".lstrip()


@frozen
class Command:
    """
    One command.

    @ivar help: what it does.
    @ivar changes: whether it changes state, and is therefore logged.
    @ivar on_command_line: whether it is a subcommand of C{socketd}, too.
    @ivar on_page: whether the status page takes it, too.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()
    changes: bool = False
    on_command_line: bool = True
    on_page: bool = True

    @property
    def usage(self) -> str:
        """Its syntax; optional arguments are in brackets."""
        words = [one.label if one.is_required else f"[{one.label}]" for one in self.arguments]
        return " ".join((self.name, *words))

    def split(self, text: str) -> dict[str, str]:
        """
        Split what follows the command's name in a line.

        @return: the arguments by key.
        @raise CommandError: if there are too few or too many.
        """
        if not any(argument.is_text for argument in self.arguments):
            text = text.strip()
        words = text.split(" ", max(len(self.arguments) - 1, 0)) if text else []
        if len(words) > len(self.arguments):
            raise self.misused()
        found = {}
        for argument, word in zip(self.arguments, words):
            if argument.keyword:
                keyword, _, word = word.partition(" ")
                if keyword != argument.keyword:
                    raise self.misused()
            found[argument.key] = word if argument.is_text else word.strip()
        return self.checked(found)

    def checked(self, arguments: dict[str, str]) -> dict[str, str]:
        """Check that each argument has a value or is optional; raise L{CommandError} if not."""
        for one in self.arguments:
            value = arguments.get(one.key)
            if (value is None and one.is_required) or (value == "" and not one.is_text):
                raise self.misused()
        return arguments

    def misused(self) -> CommandError:
        """Return the error of a command whose arguments are not as in its C{usage}."""
        return CommandError(f"write {self.usage}", USAGE)


_ID = Argument("ID", "the connection, as connections lists it")
_SOURCE = Argument("SOURCE", "an address or a network: 192.0.2.7, 2001:db8::/32")

#: Every command, by name.
COMMANDS = {
    command.name: command
    for command in (
        Command("help", "list the commands", on_command_line=False),
        Command("status", "show the state of the daemon"),
        Command("services", "list the services with their counters"),
        Command("listeners", "list the listeners, and whether they serve"),
        Command(
            "sources",
            "list the sources of numbered datagrams",
            (Argument("SERVICE", "only those of this service", False),),
        ),
        Command("certificates", "list the certificates with their days left"),
        Command(
            "connections",
            "list the open connections",
            (Argument("AFTER", "only those with a greater ID", False, on_command_line=False),),
        ),
        Command("waiting", "list the connections that wait for the operator"),
        Command("show", "show one connection", (_ID,)),
        Command(
            "watch",
            "show events as they happen",
            (Argument("SERVICE", "only the events of this service", False),),
            on_page=False,
        ),
        Command(
            "attend", "watch, and answer waiting connections", on_command_line=False, on_page=False
        ),
        Command("quit", "leave; the daemon keeps running", on_command_line=False, on_page=False),
        Command("web", "show the URL of the status page, with its token", on_page=False),
        Command(
            "reply",
            "send data to a connection",
            (_ID, Argument("TEXT", "the data", is_text=True)),
            changes=True,
        ),
        Command(
            "answer",
            "answer a connection that waits for the operator",
            (_ID, Argument("TEXT", "the answer; none: an empty one", False, is_text=True)),
            changes=True,
        ),
        Command("close", "close a connection once its output is sent", (_ID,), changes=True),
        Command(
            "half-close", "end a connection's output; its input continues", (_ID,), changes=True
        ),
        Command("reset", "reset a connection", (_ID,), changes=True),
        Command(
            "ban",
            "ban a source, and reset its connections",
            (_SOURCE, Argument("DURATION", "10m, 1h or 7d (default: until unban)", False, "for")),
            changes=True,
        ),
        Command("unban", "lift a ban", (_SOURCE,), changes=True),
        Command("bans", "list the bans"),
        Command("faults", "list the fault profiles and their services"),
        Command(
            "fault",
            "switch the fault profile of a service",
            (
                Argument("SERVICE", "the service"),
                Argument("PROFILE", "the fault profile, or off"),
                Argument("now", "also for its open connections", False, choices=("now",)),
            ),
            changes=True,
        ),
        Command("reload", "reload the configuration; an error changes nothing", changes=True),
        Command("drain", "stop accepting; existing connections continue", changes=True),
        Command("resume", "accept connections again after drain", changes=True),
        Command(
            "log-level",
            "set the lowest level that is logged",
            (Argument("LEVEL", "debug, info, warn or error", choices=LEVELS),),
            changes=True,
        ),
    )
}

#: Other names of commands.
ALIASES = {"exit": "quit"}
