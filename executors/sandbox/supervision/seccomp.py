"""The system call filter of a program: native architecture only, escapes and exotica denied.

Denied calls fail with an errno and the program goes on; calls that only ever serve to take over a
machine kill it (SIGSYS).

The tables of calls are turned into a filter of its own kind by each sandbox. Each name comes with its number
on x86_64 and on aarch64.
"""

import ctypes
import errno
import os
import struct

from executors.sandbox.supervision import syscalls

DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "syslog": (103, 116),
}
"""Denied with EPERM; the program goes on."""

KILLED = {
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
}
"""Calls that only ever serve to take over a machine: they end the program with SIGSYS."""

UNACCOUNTED = {
    # Memory that belongs to no process: only a control group counts it.
    "memfd_create": (319, 279),
    "shmget": (29, 194),
}
"""Denied as well where no control group counts a program's memory."""

ALL_NAMESPACES = 0x7E020080
"""Every flag of clone(2) that asks for a namespace; clone3, whose flags no filter can see, is ENOSYS."""

SOCKET_FAMILIES = (1, 2, 10)
"""The families of sockets that may be made: local, IPv4 and IPv6."""


_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16
_INSTRUCTION_SIZE = 8
_X32_BIT = 0x40000000

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKETS = {"socket": (41, 198), "socketpair": (53, 199)}


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _answer(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _clone_rule() -> bytes:
    return (
        _instruction(_LOAD, _ARGUMENT_0)
        + _instruction(_JUMP_ANY_BIT, ALL_NAMESPACES, 0, 1)
        + _answer(_ERRNO | errno.EPERM)
        + _answer(_ALLOW)
    )


def _socket_rule() -> bytes:
    tests = [
        _instruction(_JUMP_EQUAL, family, len(SOCKET_FAMILIES) - index, 0)
        for index, family in enumerate(SOCKET_FAMILIES)
    ]
    refused = _answer(_ERRNO | errno.EAFNOSUPPORT)
    return _instruction(_LOAD, _ARGUMENT_0) + b"".join(tests) + refused + _answer(_ALLOW)


def _rules(column: int, *, accounted: bool) -> dict[int, bytes]:
    """What to do with each system call that is not simply allowed, by its number."""
    denied = DENIED if accounted else DENIED | UNACCOUNTED
    rules = {numbers[column]: _answer(_ERRNO | errno.EPERM) for numbers in denied.values()}
    rules |= {numbers[column]: _answer(_KILL) for numbers in KILLED.values()}
    rules |= {numbers[column]: _socket_rule() for numbers in _SOCKETS.values()}
    rules[_CLONE[column]] = _clone_rule()
    # Its flags are behind a pointer where no filter can look; callers then fall back to clone.
    rules[_CLONE3[column]] = _answer(_ERRNO | errno.ENOSYS)
    return rules


def _intervals(rules: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """The same as (first number, what to do) for every run of numbers that are treated alike."""
    everywhere = {0: _answer(_ALLOW)}
    for number in sorted(rules):
        everywhere[number] = rules[number]
        everywhere[number + 1] = _answer(_ALLOW)
    everywhere[_X32_BIT] = _answer(_ERRNO | errno.EPERM)
    merged: list[tuple[int, bytes]] = []
    for first, action in everywhere.items():
        if not merged or merged[-1][1] != action:
            merged.append((first, action))
    return merged


def _search(intervals: list[tuple[int, bytes]]) -> bytes:
    """A binary search for the interval of the number at hand: the kernel walks it for each system call."""
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    below, above = _search(intervals[:middle]), _search(intervals[middle:])
    skip = len(below) // _INSTRUCTION_SIZE
    return _instruction(_JUMP_GREATER_EQUAL, intervals[middle][0], skip, 0) + below + above


def build(*, accounted: bool) -> bytes:
    """The filter for this machine's architecture, as the kernel's instructions.

    ``accounted`` says that a control group counts the program's memory. Raises ``KeyError`` with the
    architecture's name where none was written.
    """
    machine = os.uname().machine
    architecture = _AUDIT_ARCHITECTURE[machine]
    column = tuple(_AUDIT_ARCHITECTURE).index(machine)
    head = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        _answer(_KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    return b"".join(head) + _search(_intervals(_rules(column, accounted=accounted)))


class Filter:
    """The filter, ready to be installed: made once in a slot and used by all of its cells."""

    def __init__(self, instructions: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        self._program = syscalls.FilterProgram(
            len(instructions) // _INSTRUCTION_SIZE, ctypes.addressof(self._instructions)
        )

    def install(self) -> None:
        """Put it over this process and all it will start; needs no_new_privs. Cannot be undone."""
        syscalls.prctl(syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER, self._program)
