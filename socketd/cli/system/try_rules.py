"""C{socketd try}: say what the rules of a service would answer, without a socket."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from socketd.cli.common.arguments import argument_type
from socketd.cli.common.output import emit
from socketd.cli.system.check import place_of, refuse
from socketd.common.errors import FAILED, GOOD, CommandError
from socketd.common.paths import runtime_directory
from socketd.common.table import render
from socketd.protocols.frames import parse_framing
from socketd.protocols.messages.reply import ReplyOptions
from socketd.protocols.registry import installed
from socketd.protocols.rules.conversation import Conversation
from socketd.protocols.rules.rule import quoted
from socketd.settings.diagnostics import SettingsError, nearest
from socketd.settings.ini import read_file
from socketd.settings.load import parse
from socketd.settings.model import ServiceSettings, Settings
from socketd.settings.value_types import parse_text


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="the INI file")
    parser.add_argument("service", metavar="SERVICE", help="a service with protocol = reply")
    parser.add_argument(
        "messages", metavar="TEXT", nargs="+", type=argument_type(parse_text),
        help=r"a message, with the escapes \n \r \t \xNN \\; several are one conversation",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """Answer the messages; the status is 1 if one has no rule, 78 if the file is wrong."""
    try:
        runtime = runtime_directory(os.environ, os.geteuid())
        settings = parse(read_file(arguments.file), arguments.file, installed(), runtime)
    except SettingsError as error:
        return refuse(error, arguments.json)
    service = _find(settings, arguments.service)
    greeting = service.options.greeting
    turns = list(_turns(service, arguments.messages))
    ok = all(turn["rule"] is not None for turn in turns)
    if arguments.json:
        facts = {"ok": ok, "service": service.name, "greeting": quoted(greeting)[1:-1]}
        emit(json.dumps(facts | {"messages": turns}) + "\n")
    else:
        rows = [("(connection)", quoted(greeting), "", "")] if greeting else []
        for one in turns:
            answer = "-" if one["answer"] is None else f'"{one["answer"]}"'
            rows.append((f'"{one["message"]}"', answer, one["place"], one["rule"] or ""))
        emit(render(("MESSAGE", "ANSWER", "PLACE", "RULE"), rows))
    return GOOD if ok else FAILED


def _find(settings: Settings, name: str) -> ServiceSettings:
    """Find a service that answers by rule."""
    services = {service.name: service for service in settings.services}
    if name not in services:
        raise CommandError(f"{settings.file} has no service {name}; {nearest(name, services)}")
    if not isinstance(services[name].options, ReplyOptions):
        raise CommandError(f"[{name}] has no rules: its protocol is {services[name].protocol}")
    return services[name]


def _turns(service: ServiceSettings, messages: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """
    Hold a conversation: each message with what became of it, as JSON has it.

    Bytes are texts with the escapes of the file. The place is where the rule is written, or why
    there is none.
    """
    options: ReplyOptions = service.options
    conversation = Conversation(options.script)
    framing = parse_framing(options.framing)(options.max_message)
    is_closed = False
    for message in messages:
        text = framing.unterminated(message)
        rule = None if is_closed else conversation.choose(text)
        answer = None if rule is None or rule.answer is None else rule.answer_to(text)
        place = "the connection is closed" if is_closed else "no rule matches"
        is_last = False
        if rule is not None:
            place = place_of(service, rule)
            is_last = rule.close or rule.reset or bool(options.close and answer)
        yield {
            "message": quoted(message)[1:-1],
            "answer": None if answer is None else quoted(answer)[1:-1],
            "rule": None if rule is None else str(rule),
            "place": place,
            "after": 0.0 if rule is None else rule.after,
            "closes": is_last,
        }
        is_closed |= is_last
