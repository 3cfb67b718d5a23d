"""
A program that makes a TUN device in the network namespace that it is started in, and hands
it over through the socket that is its standard input.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

# linux/if_tun.h and if.h: struct ifreq is a name, flags, and room up to 40 bytes.
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_IFREQ = struct.Struct("16sH22x")


def hand_over(path: str, name: str) -> None:
    """
    Make the device, or complain.

    @param path: what it is made with.
    @param name: that of its interface.
    """
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN_NO_PI))
    except OSError as problem:
        sys.exit(f"{path}: {problem.strerror}")
    socket.send_fds(socket.socket(fileno=0), [b"."], [device])


if __name__ == "__main__":
    hand_over(sys.argv[1], sys.argv[2])
