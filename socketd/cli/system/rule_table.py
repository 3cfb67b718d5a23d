"""The rules of a service, as C{socketd check} and C{socketd try} show them."""

from __future__ import annotations

from collections.abc import Iterator

from socketd.protocols.messages.reply import ReplyOptions
from socketd.protocols.rules.rule import Rule
from socketd.settings.model import ServiceSettings


def rules_of(service: ServiceSettings) -> Iterator[Rule]:
    """List the rules by which a service answers: none, unless it has C{rules}."""
    options = service.options
    if isinstance(options, ReplyOptions) and options.rules is not None:
        yield from options.rules.rules
        if options.script.fallback is not None:
            yield options.script.fallback


def place_of(service: ServiceSettings, rule: Rule) -> str:
    """Say where a rule is written: C{FILE:LINE}."""
    if rule == service.options.script.fallback:
        return service.place("reply")
    rules = service.options.rules
    if rules.file:
        return f"{rules.file}:{rule.line}"
    return f"{service.file}:{service.lines['rules'] + rule.line}"
