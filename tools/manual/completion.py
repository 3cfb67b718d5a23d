"""
Generates command line completions of C{socketd} for bash, zsh and fish.

Existing libraries either do not support fish, or are needed at run time.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from socketd.cli.main import PROGRAM
from tools.manual.program import HELP, Argument, Subcommand, subcommands

#: The options of C{socketd} without a subcommand.
GENERAL = {"--help": "show the help", "--version": "print the version"}

_HEAD = f"# Written by make docs, from the parsers of {PROGRAM}."

_BASH = """\
_socketd_words() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2"); }}
_socketd_names() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}}
_socketd() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _socketd_words '{first}' "$word"
        return
    fi
    # bash takes --option=value for three words.
    if [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    elif [[ $word == = ]]; then
        word=''
    fi
    case ${{COMP_WORDS[1]}}:$before in
{values}
    esac
    case ${{COMP_WORDS[1]}} in
{rest}
    esac
}}
complete -F _socketd {program}
"""

_BASH_NAMES = {"file": "-f", "directory": "-d"}

_ZSH = """\
_socketd() {{
    local -a subcommands=(
{list}
    )
    if ((CURRENT == 2)); then
        _describe -t commands subcommand subcommands
        _arguments {general}
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
{rest}
    esac
}}
_socketd "$@"
"""

_ZSH_NAMES = {"file": "_files", "directory": "_files -/"}

_FISH_NAMES = {"file": " -r -F", "directory": " -x -a '(__fish_complete_directories)'"}

_ZSH_MARKUP = re.compile(r"([\\:\[\]])")
_FISH_MARKUP = re.compile(r"([\\'])")


def bash() -> str:
    """Generate the completion for bash."""
    found = subcommands()
    text = _BASH.format(
        program=PROGRAM,
        first=" ".join((*(one.name for one in found), *GENERAL)),
        values="\n".join(line for one in found for line in _bash_values(one)),
        rest="\n".join(map(_bash_rest, found)),
    )
    return f"{_HEAD}\n{text}"


def _bash_values(subcommand: Subcommand) -> Iterator[str]:
    """Generate the cases that complete the values of options."""
    patterns: dict[str, list[str]] = {}
    for option in subcommand.options:
        if option.value:
            does = "".join(f"{line}; " for line in _bash_value([option]))
            found = patterns.setdefault(does, [])
            found += [f"{subcommand.name}:{flag}" for flag in option.flags]
    for does, written in patterns.items():
        yield f"        {' | '.join(written)}) {does}return ;;"


def _bash_value(arguments: list[Argument]) -> Iterator[str]:
    """Generate the command that completes the value of any of these arguments."""
    words = [word for found in arguments for word in found.choices]
    names = {found.names for found in arguments} - {""}
    if words:
        yield f"""_socketd_words '{" ".join(words)}' "$word\""""
    elif names:
        # "file" sorts after "directory" and includes it, as a file may be in any directory.
        yield f'_socketd_names {_BASH_NAMES[max(names)]} "$word"'


def _bash_rest(subcommand: Subcommand) -> str:
    flags = " ".join(flag for option in (*subcommand.options, HELP) for flag in option.flags)
    lines = [f"        {subcommand.name})", "            if [[ $word == -* ]]; then"]
    lines.append(f"""                _socketd_words '{flags}' "$word\"""")
    for line in _bash_value(subcommand.positional):
        lines += ["            else", f"                {line}"]
    return "\n".join((*lines, "            fi", "            ;;"))


def zsh() -> str:
    """Generate the completion for zsh."""
    found = subcommands()
    texts = [f"{one.name}:{_zsh(one.help)}" for one in found]
    text = _ZSH.format(
        list="\n".join(f"        {shlex.quote(text)}" for text in texts),
        general=" ".join(shlex.quote(f"{flag}[{text}]") for flag, text in GENERAL.items()),
        rest="\n".join(map(_zsh_rest, found)),
    )
    return f"#compdef {PROGRAM}\n{_HEAD}\n{text}"


def _zsh_rest(subcommand: Subcommand) -> str:
    specs = [spec for found in (*subcommand.arguments, HELP) for spec in _zsh_specs(found)]
    lines = " \\\n".join(f"                {shlex.quote(spec)}" for spec in specs)
    return f"        {subcommand.name})\n            _arguments -S \\\n{lines}\n            ;;"


def _zsh_specs(found: Argument) -> Iterator[str]:
    """Format an argument as specifications for C{_arguments} (zshcompsys(1))."""
    value = f"({' '.join(found.choices)})" if found.choices else _ZSH_NAMES.get(found.names, " ")
    behind = f":{_zsh(found.value)}:{value}" if found.value else ""
    if not found.flags:
        yield f"*{behind}" if found.repeated else f"{'' if found.needed else ':'}{behind}"
    for flag in found.flags:
        others = "*" if found.repeated else f"({' '.join(found.flags)})"
        joint = ("=" if flag.startswith("--") else "+") if behind else ""
        yield f"{others}{flag}{joint}[{_zsh(found.help)}]{behind}"


def _zsh(text: str) -> str:
    """Escape a text for C{_arguments} and C{_describe}."""
    return _ZSH_MARKUP.sub(r"\\\1", text)


def fish() -> str:
    """Generate the completion for fish."""
    first = f"complete -c {PROGRAM} -n __fish_use_subcommand"
    lines = [_HEAD, f"complete -c {PROGRAM} -f"]
    lines += [f"{first} -l {name[2:]} -d {_fish(text)}" for name, text in GENERAL.items()]
    for found in subcommands():
        lines.append(f"{first} -a {found.name} -d {_fish(found.help)}")
        lines += [f"{_fish_front(found)}{_fish_argument(one)}" for one in (*found.arguments, HELP)]
    return "".join(f"{line}\n" for line in lines)


def _fish_front(subcommand: Subcommand) -> str:
    return f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {subcommand.name}'"


def _fish_argument(found: Argument) -> str:
    if not found.flags:
        words = f" -a {_fish(' '.join(found.choices))}" if found.choices else ""
        return (" -F" if found.names else words) + f" -d {_fish(found.help)}"
    flags = "".join(
        f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in found.flags
    )
    value = " -x" if found.value else ""
    if found.choices:
        value = f" -x -a {_fish(' '.join(found.choices))}"
    return f"{flags}{_FISH_NAMES.get(found.names, value)} -d {_fish(found.help)}"


def _fish(text: str) -> str:
    """Quote a text for fish(1)."""
    quoted = _FISH_MARKUP.sub(r"\\\1", text)
    return f"'{quoted}'"
