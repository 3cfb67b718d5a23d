"""
C{python -m socketd.manual DIRECTORY} writes the manual pages and the completions into
C{man/} and C{completion/} there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tools.manual import completion, pages

#: Each file that is written from the code, with what writes it. The names of completions
#: are those that each shell looks for.
FILES: dict[str, Callable[[], str]] = {
    "man/socketd.8": pages.daemon_page,
    "man/socketd.ini.5": pages.configuration_page,
    "man/socketd.1": pages.command_page,
    "completion/socketd": completion.bash,
    "completion/_socketd": completion.zsh,
    "completion/socketd.fish": completion.fish,
}


def main(directory: str) -> None:
    """
    Write all of them.
    """
    for name, write in FILES.items():
        file = Path(directory, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
