"""The lines of a systemd unit that follow from the files and UNIX sockets of a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from socketd.settings.model import Settings

#: The directory that C{RuntimeDirectory=} creates.
RUNTIME = "/run/socketd"

_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def path_lines(settings: Settings, read: Iterable[str]) -> Iterator[str]:
    """List the lines that make sockets, and the files that the daemon reads, accessible."""
    sockets = [os.path.abspath(path) for path in _sockets(settings)]
    # What is in the state directory begins with its name.
    written = (path for service in settings.services for path in service.written)
    sockets += filter(os.path.isabs, written)
    # Both the path and its target: /etc may contain a symbolic link to a home directory.
    every = {*sockets, *map(os.path.abspath, read)}
    every |= set(map(os.path.realpath, every))
    yield f"ProtectHome={'read-only' if any(_is_in(_HOMES, one) for one in every) else 'yes'}"
    if not all(map(os.path.isabs, [*_sockets(settings), *settings.files])):
        # The only setting whose path is never quoted.
        yield f"WorkingDirectory={os.getcwd().replace('%', '%%')}"
    parents = {os.path.dirname(path) for path in sockets if not _is_in((Path(RUNTIME),), path)}
    for directory in sorted(parents):
        if not _is_in(_TEMPORARY, directory):
            yield f"ReadWritePaths={_path(directory)}"
        elif Path(directory) not in _TEMPORARY:
            yield f"BindPaths={_bind_path(directory)}"
    # The directory, so that a replaced file is seen.
    temporary = {path for path in every if _is_in(_TEMPORARY, path)} - set(sockets)
    for path in sorted({_own_directory(path) for path in temporary} - parents):
        yield f"BindReadOnlyPaths={_bind_path(path)}"


def doubts(settings: Settings, file: str) -> Iterator[str]:
    """List paths that the daemon or its clients may not find, in spite of the unit."""
    for path in (file, *settings.files):
        if _is_in(_TEMPORARY, os.path.realpath(path)):
            yield f"{path}: temporary files are removed with time; /etc/socketd would be right"
    for path in map(os.path.abspath, _sockets(settings)):
        if Path(path).parent in _TEMPORARY:
            yield (
                f"{path}: the daemon has a {Path(path).parent} of its own, where no client finds"
                f" it; {{runtime}}/{Path(path).name} would be right"
            )


def quoted(text: str) -> str:
    """Quote a word of a command line (systemd.service(5), systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in escaped)
    return escaped if escaped == text and not set(text) & set(" ';") else f'"{escaped}"'


def _sockets(settings: Settings) -> list[str]:
    listeners = [one for service in settings.services for one in service.listeners]
    return [one.path for one in (*listeners, *settings.own.values()) if one.path]


def _own_directory(path: str) -> str:
    """Return the directory of a temporary file, or the file itself if that directory is shared."""
    directory = os.path.dirname(path)
    return path if Path(directory) in _TEMPORARY else directory


def _path(path: str) -> str:
    # Unlike in a command line, "$" is not expanded here.
    return quoted(path).replace("$$", "$")


def _bind_path(path: str) -> str:
    return _path(path).replace(":", "\\:")


def _is_in(directories: Iterable[Path], path: str) -> bool:
    return any(Path(path).is_relative_to(directory) for directory in directories)
