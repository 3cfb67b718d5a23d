"""
Write a folder to standard output as a tar archive, the same bytes on every system.

tar(1) of Debian 12 and 13 fill the header of a file in two ways.
"""

from __future__ import annotations

import os
import sys
import tarfile


def impersonal(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who packs, and when."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
    return member


def main(folder: str) -> None:
    """Write the archive, below the folder's own name; C{tarfile} sorts what is in it."""
    with tarfile.open(
        fileobj=sys.stdout.buffer, mode="w|", format=tarfile.USTAR_FORMAT
    ) as archive:
        archive.add(folder, os.path.basename(folder), filter=impersonal)


if __name__ == "__main__":
    main(sys.argv[1])
