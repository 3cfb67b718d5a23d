"""Creates several files atomically: all or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from socketd.common.errors import CommandError, reason_of

PRIVATE = 0o600
PUBLIC = 0o644


@frozen
class NewFile:
    """A file to be created, whose mode is never wider, not even while written."""

    path: Path
    data: bytes
    mode: int
    may_replace: bool = False


def write_files(files: Sequence[NewFile]) -> None:
    """
    Write files of one directory under temporary names, then rename all of them; on any error, a
    L{CommandError}, the directory is left unchanged.
    """
    replaced: list[Path] = []
    try:
        with ExitStack() as undo:
            written = [_write(file, undo) for file in files]
            for file, temporary in zip(files, written, strict=True):
                if file.may_replace and os.path.lexists(file.path):
                    replaced.append(_move_aside(file.path, undo))
                else:
                    # Reserve the name: rename(2) would replace a file created in the meantime.
                    os.close(os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
                    undo.callback(file.path.unlink, missing_ok=True)
                os.replace(temporary, file.path)
            undo.pop_all()
    except FileExistsError as error:
        raise CommandError(f"{error.filename} exists; --force would replace it") from error
    except OSError as error:
        raise CommandError(f"{files[0].path.parent}: {reason_of(error)}") from error
    for old in replaced:
        old.unlink()


def _write(file: NewFile, undo: ExitStack) -> Path:
    temporary = _other_name(file.path)
    # Restricted from the start: a process that opens the file now can read later writes.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    undo.callback(temporary.unlink, missing_ok=True)
    with open(descriptor, "wb") as stream:
        stream.write(file.data)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


def _move_aside(path: Path, undo: ExitStack) -> Path:
    if path.is_dir() and not path.is_symlink():
        raise CommandError(f"{path} is a directory")
    other = _other_name(path)
    os.rename(path, other)
    undo.callback(os.replace, other, path)
    return other


def _other_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")
