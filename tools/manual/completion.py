"""Generates the completions of C{socketd} for bash, zsh and fish with shtab."""

from __future__ import annotations

from argparse import ArgumentParser

import shtab

from tools.manual.program import arguments, command_line, value

#: bash splits C{--option=value} into three words, but shtab expects two.
_BASH = """\
_socketd() {
    local word words=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD}"; do
        [[ $word == = ]] || words+=("$word")
    done
    word=${COMP_WORDS[COMP_CWORD]}
    local COMP_WORDS=("${words[@]}" "${word#=}") COMP_CWORD=${#words[@]}
    _shtab_socketd
}"""

#: fish gives C{--option=value} as one word, but shtab completes a word as a whole.
_FILE = shtab.FILE | {
    "fish": "(__fish_complete_path (commandline -ct | string replace -r '^--[^=]*=' ''))"
}

#: How to complete the value of an argument, by the name of the value.
_COMPLETERS = {
    **dict.fromkeys(("FILE", "PATH", "CONFIG"), _FILE),
    **dict.fromkeys(("DIR", "DIRECTORY"), shtab.DIRECTORY),
}


def bash() -> str:
    """Generate the completion for bash."""
    text = shtab.complete(_parser(), "bash", preamble=_BASH)
    return text.replace("-F _shtab_socketd ", "-F _socketd ") + "\n"


def zsh() -> str:
    """Generate the completion for zsh."""
    # A value may follow in the same word (zshcompsys(1)).
    return shtab.complete(_parser(short="+", long="="), "zsh")


def fish() -> str:
    """Generate the completion for fish."""
    return shtab.complete(_parser(), "fish")


def _parser(short: str = "", long: str = "") -> ArgumentParser:
    """
    Create the parser that shtab reads.

    @param short: appended to the short options that take a value.
    @param long: appended to the long ones.
    """
    root, parsers = command_line()
    for action in (action for parser in parsers.values() for action in arguments(parser)):
        if value(action):
            action.option_strings = [
                flag + (long if flag.startswith("--") else short) for flag in action.option_strings
            ]
        if value(action) in _COMPLETERS:
            action.complete = _COMPLETERS[value(action)]  # type: ignore[attr-defined]
    return root
