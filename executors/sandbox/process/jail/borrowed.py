"""Calls a Python function in a child process that borrows this one's memory.

A fork has every page that the child writes copied, which for an interpreter costs four times what all
else does that a cell is for. As with vfork(2) the parent stands still until its child has ended, so
that the child may go on in the parent's own memory, on a stack of its own; everything that the kernel
keeps (identity, namespaces, descriptors, limits, filters) is the child's own.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_VM, _VFORK = 0x00000100, 0x00004000
_STACK_ALIGNMENT = 4096
_BELOW_OUR_STACK = 3 << 20
_FAILED = 1

# PyDLL: the interpreter lock stays held, and the child goes on with it.
_clone = ctypes.PyDLL(None, use_errno=True).clone
_Function = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class BorrowedMemory:
    """Runs children in new ``namespaces``, one at a time; only for single-threaded processes."""

    def __init__(self, namespaces: int) -> None:
        self._function: Callable[[], None]
        self._entry = _Function(self._enter)
        self._stack = ctypes.c_void_p(_spare_stack())
        self._flags = ctypes.c_int(namespaces | _VM | _VFORK | int(signal.SIGCHLD))

    def run(self, function: Callable[[], None]) -> int:
        """Call ``function`` in a child, to its end; returns the child's wait status, not 0 if it raised.

        A child that a signal ended may have left this memory in disorder: this process is to end then.
        """
        self._function = function
        child: int = _clone(self._entry, self._stack, self._flags, None)
        if child < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"clone: {os.strerror(number)}")
        return os.waitpid(child, 0)[1]

    def _enter(self, _argument: int | None) -> int:
        try:
            self._function()
        except BaseException:  # noqa: BLE001 (the edge of a process: nothing may pass into the parent's frames)
            sys.excepthook(*sys.exc_info())
            return _FAILED
        return 0


def _spare_stack() -> int:
    """An address far below what this thread uses of its own stack, which the kernel lets grow to there.

    Python since 3.14 refuses to go on where it sees a stack pointer outside of it.
    """
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            if line.rstrip().endswith("[stack]"):
                bottom = int(line.partition("-")[0], 16)
                return (bottom - _BELOW_OUR_STACK) // _STACK_ALIGNMENT * _STACK_ALIGNMENT
    raise OSError("this process has no stack that /proc/self/maps shows")
