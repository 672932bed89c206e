#!/usr/bin/env python3
"""Starts Chromium so that it does not notice changes of the machine's network. Takes Chromium's arguments.

When a network interface appears or disappears, Chromium drops all requests that wait for a connection, also
those to the loopback. Docker makes an interface for each container. The kernel reports such changes through
netlink sockets, which are denied here.

It runs under whichever Python 3 is found first, so it imports nothing of Crucible.
"""

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
COMMAND = Path(__file__)

_SOCKET = {"x86_64": 41, "aarch64": 198}
_AF_NETLINK = 16
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARGUMENT_0 = 0, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2


class _Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def main() -> None:
    """Deny netlink sockets to this process for good, and become Chromium with the same arguments."""
    instructions = ((_LOAD, 0, 0, _NUMBER), (_JUMP_EQUAL, 0, 3, _SOCKET[os.uname().machine]))
    instructions += ((_LOAD, 0, 0, _ARGUMENT_0), (_JUMP_EQUAL, 0, 1, _AF_NETLINK))
    instructions += ((_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW))
    encoded = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    kept = ctypes.create_string_buffer(encoded, len(encoded))
    program = _Program(len(instructions), ctypes.addressof(kept))
    _set(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    _set(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program))
    os.execv(CHROMIUM, [str(CHROMIUM), *sys.argv[1:]])  # noqa: S606 (no shell is needed)


def _set(option: int, argument: object, pointer: object = None) -> None:
    nothing = ctypes.c_ulong(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, pointer or nothing, nothing, nothing):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    main()
