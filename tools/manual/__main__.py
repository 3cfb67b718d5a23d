"""
C{python -m tools.manual DIRECTORY} writes the manual pages, the shell completions and the
reference of options into that directory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tools.manual import completion, options_page, pages

#: Each generated file and its generator. The completions have the file names that each
#: shell looks for.
FILES: dict[str, Callable[[], str]] = {
    "man/socketd.8": pages.daemon_page,
    "man/socketd.ini.5": pages.configuration_page,
    "man/socketd.1": pages.command_page,
    "completion/socketd": completion.bash,
    "completion/_socketd": completion.zsh,
    "completion/socketd.fish": completion.fish,
    "options.md": options_page.markdown,
}


def main(directory: str) -> None:
    """Write all files."""
    for name, write in FILES.items():
        file = Path(directory, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
