"""
Runs a command that can neither set the clock nor ask the kernel about it, not even as root:
C{python guarded.py COMMAND...}.

So no client of these tests sets the clock of the machine; and for a daemon the clock counts as not
synchronised, on every machine.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from ctypes import Structure, c_ubyte, c_uint, c_ulong, c_ushort
from errno import EPERM

#: clock_settime, settimeofday, adjtimex and clock_adjtime (asm/unistd.h), by machine.
CALLS = {"x86_64": (227, 164, 159, 305), "aarch64": (112, 170, 171, 266)}

# linux/prctl.h, linux/seccomp.h
_SET_SECCOMP, _FILTER, _SET_NO_NEW_PRIVS = 22, 2, 38
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | EPERM

# linux/bpf_common.h: load a word of the data, whose first is the number of the call; go
# on behind so many instructions if it is this one; return.
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


class Instruction(Structure):
    """C{struct sock_filter} of linux/filter.h."""

    _fields_ = [("code", c_ushort), ("yes", c_ubyte), ("no", c_ubyte), ("value", c_uint)]


class Program(Structure):
    """C{struct sock_fprog} of linux/filter.h."""

    _fields_ = [("length", c_ushort), ("start", ctypes.POINTER(Instruction))]


def program(calls: tuple[int, ...]) -> list[Instruction]:
    """Write the filter that refuses some system calls with C{EPERM}."""
    tests = [
        Instruction(_IF_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)
    ]
    ends = [Instruction(_RETURN, 0, 0, _ALLOW), Instruction(_RETURN, 0, 0, _REFUSE)]
    return [Instruction(_LOAD, 0, 0, 0), *tests, *ends]


def guard() -> None:
    """
    Give up the calls for the clock, for good (seccomp(2)).

    @raise OSError: if this system has no such filters.
    """
    instructions = program(CALLS[platform.machine()])
    array = (Instruction * len(instructions))(*instructions)
    filter_ = Program(len(instructions), array)
    _prctl(_SET_NO_NEW_PRIVS, c_ulong(1), c_ulong(0))
    _prctl(_SET_SECCOMP, c_ulong(_FILTER), ctypes.byref(filter_))


def _prctl(option: int, *arguments: object) -> None:
    call = ctypes.CDLL(None, use_errno=True).prctl
    if call(option, *arguments, *[c_ulong(0)] * (4 - len(arguments))):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(2): {os.strerror(number)}")


if __name__ == "__main__":
    guard()
    os.execvp(sys.argv[1], sys.argv[1:])
