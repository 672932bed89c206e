"""The system call filter of a program: native architecture only, escapes and exotica denied.

Denied calls fail with an errno and the program goes on; calls that only ever serve to take over a
machine kill it (SIGSYS).
"""

import ctypes
import errno
import os
import struct

from executors.sandbox.supervision import syscalls
from executors.sandbox.supervision.forbidden import (
    ALL_NAMESPACES,
    DENIED,
    KILLED,
    SOCKET_FAMILIES,
    UNACCOUNTED,
)

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
