"""Landlock: a second wall within the first, which the kernel keeps apart from mounts and their flags.

Were something of the system mounted writable by mistake, a program could still write only where it may.
It changes nothing in what programs see. A kernel without Landlock goes without.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping

from executors.sandbox.supervision.syscalls import system_call

# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_ONLY, _PATH_BENEATH = 1, 1
_OLDEST_ABI = 2
"""The first one denies to rename or link anything from one folder to another."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = (
    1 << bit for bit in (0, 1, 2, 3, 14, 15)
)
_RIGHTS_SINCE_ABI = {2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_SCOPES_SINCE_ABI = 6
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

READ = _EXECUTE | _READ_FILE | _READ_DIR
WRITE_WHAT_IS_THERE = _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
ANYTHING = 0xFFFF

SYSTEM = {"/": READ, "/dev": WRITE_WHAT_IS_THERE}
OWN = {"/proc": WRITE_WHAT_IS_THERE, "/scratch": ANYTHING, "/box": ANYTHING, "/tmp": ANYTHING}  # noqa: S108
"""What each cell mounts anew: a rule holds for a folder itself, and not for what will be mounted on it."""


def abi() -> int:
    """The version of Landlock that this kernel has; 0 for none, or one that is of no use to us."""
    try:
        found = system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION_ONLY))
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:  # none, switched off, filtered
            return 0
        raise
    return found if found >= _OLDEST_ABI else 0


class Landlock:
    """One set of rules for all cells of a slot; without effect where the kernel has no Landlock.

    Rights hold for a folder and all below it, and add up. Folders of ``system`` are the same for all
    cells, those of ``own`` are looked up in each.
    """

    def __init__(self, system: Mapping[str, int], own: Mapping[str, int]) -> None:
        version = abi()
        self._handled = max((0, *(all_ for since, all_ in _RIGHTS_SINCE_ABI.items() if since <= version)))
        self._attributes = struct.pack("=Q", self._handled)
        if version >= _SCOPES_SINCE_ABI:
            # Between the two is what is handled of TCP, which is nothing: loopback is the program's.
            self._attributes += struct.pack("=QQ", 0, _ABSTRACT_SOCKETS_AND_SIGNALS)
        self._system = [(_opened(path), rights) for path, rights in system.items()]
        self._own = own

    def install(self) -> None:
        """Put the wall around this process and all it will start; needs no_new_privs. Cannot be undone."""
        if not self._handled:
            return
        size = ctypes.c_size_t(len(self._attributes))
        ruleset = system_call(_CREATE_RULESET, self._attributes, size, ctypes.c_uint(0))
        for folder, rights in self._system:
            self._allow(ruleset, folder, rights)
        for path, rights in self._own.items():
            folder = _opened(path)
            self._allow(ruleset, folder, rights)
            os.close(folder)
        system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
        os.close(ruleset)

    def _allow(self, ruleset: int, folder: int, rights: int) -> None:
        rule = struct.pack("=Qi", rights & self._handled, folder)
        kind = ctypes.c_int(_PATH_BENEATH)
        system_call(_ADD_RULE, ctypes.c_int(ruleset), kind, rule, ctypes.c_uint(0))


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)
