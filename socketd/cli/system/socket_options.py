"""C{socketd options}: the socket options of this Python, and their defaults on this system."""

from __future__ import annotations

import argparse
import json
import socket
import struct
from collections.abc import Callable

from attrs import asdict, frozen

from socketd.cli.common.output import emit
from socketd.cli.system.option_table import FORMS, level_of, meaning_of, option_names
from socketd.common import table
from socketd.common.errors import GOOD
from socketd.common.text import one_line

NAME = "options"
HELP = "list the socket options of this system with their defaults"

UNREADABLE = "-"

#: Buffer size of a value in bytes: more than the longest known, C{TCP_INFO}, and Python's limit.
MAX_VALUE = 1024

Value = int | str | None


@frozen
class Option:
    """
    One row of the table.

    @ivar name: the constant of Python's socket module.
    @ivar level: the name of the level; C{None} if it is not an option of Internet sockets.
    @ivar number: the option's number on this system.
    @ivar tcp: the default of a new TCP socket; C{None} if it cannot be read.
    @ivar udp: the same for UDP.
    @ivar meaning: the description.
    """

    name: str
    level: str | None
    number: int
    tcp: Value
    udp: Value
    meaning: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments.

    @param parser: the parser of this subcommand.
    """
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")


def run(arguments: argparse.Namespace) -> int:
    """
    Print the options.

    @param arguments: the parsed arguments.
    @return: the exit status.
    """
    options = [read_option(name) for name in option_names()]
    emit(render_json(options) if arguments.json else render_table(options))
    return GOOD


def render_json(options: list[Option]) -> str:
    """
    Format options as JSON.

    @param options: the options.
    @return: a JSON array of objects.
    """
    return json.dumps([asdict(option) for option in options], indent=1) + "\n"


def render_table(options: list[Option]) -> str:
    """
    Format options as a table.

    @param options: the options.
    @return: a table.
    """
    headers = ("NAME", "NUMBER", "TCP", "UDP", "MEANING")
    rows = [
        (option.name, str(option.number), _shown(option.tcp), _shown(option.udp), option.meaning)
        for option in options
    ]
    return table.render(headers, rows)


def read_option(name: str) -> Option:
    """
    Look up an option.

    @param name: the constant of Python's socket module.
    @return: its row of the table.
    """
    level, number = level_of(name), getattr(socket, name)
    tcp = read_default(name, level, number, socket.SOCK_STREAM)
    udp = read_default(name, level, number, socket.SOCK_DGRAM)
    return Option(name, level, int(number), tcp, udp, meaning_of(name))


def read_default(name: str, level: str | None, number: int, kind: int) -> Value:
    """
    Read an option of a new socket.

    @param name: the option.
    @param level: the name of its level.
    @param number: its number.
    @param kind: the socket type.
    @return: a number or a text; C{None} if it cannot be read.
    """
    if level is None:
        return None
    family = socket.AF_INET6 if level == "IPPROTO_IPV6" else socket.AF_INET
    try:
        with socket.socket(family, kind) as fresh:
            raw = fresh.getsockopt(getattr(socket, level), number, MAX_VALUE)
    except OSError:
        return None
    return interpret(raw, FORMS.get(name, "number"))


def interpret(raw: bytes, form: str) -> Value:
    """
    Decode the value of an option.

    @param raw: the bytes from getsockopt(2).
    @param form: one of the formats in L{FORMS}, or C{number}.
    @return: a number, or a text that describes a structure, or states its size.
    """
    try:
        return INTERPRETERS[form](raw)
    except struct.error:
        return f"{len(raw)} bytes"


def _number(raw: bytes) -> Value:
    if len(raw) == 1:
        return raw[0]
    number: int = struct.unpack("i", raw)[0]
    return number


def _text(raw: bytes) -> Value:
    return one_line(raw.rstrip(b"\0").decode("utf-8", "backslashreplace"))


def _linger(raw: bytes) -> Value:
    is_on, seconds = struct.unpack("ii", raw)
    return f"{seconds} s" if is_on else "off"


def _time(raw: bytes) -> Value:
    seconds, microseconds = struct.unpack("ll", raw)
    return f"{seconds + microseconds / 1e6:g} s" if seconds or microseconds else "none"


def _credentials(raw: bytes) -> Value:
    process, user, group = struct.unpack("iii", raw)
    return f"pid {process} uid {user} gid {group}" if process else "none"


def _address(raw: bytes) -> Value:
    return ".".join(map(str, struct.unpack("4B", raw)))


INTERPRETERS: dict[str, Callable[[bytes], Value]] = {
    "number": _number,
    "text": _text,
    "linger": _linger,
    "time": _time,
    "credentials": _credentials,
    "address": _address,
}


def _shown(value: Value) -> str:
    if value is None:
        return UNREADABLE
    return str(value) or '""'
