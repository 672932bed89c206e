"""``launch.py PARENT NICENESS PROGRAM ARGUMENT...``: becomes PROGRAM, to be killed when process PARENT ends.

A file of its own, run by a bare interpreter: code between fork and exec in a process with threads
can deadlock, and this wish must be in force before PROGRAM does anything.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns: the kernel keeps the wish over exec."""
    parent, niceness, *argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit(f"process {parent} ended before {argv[0]} was started")
    _be_nice(int(niceness))
    try:
        os.execvp(argv[0], argv)  # noqa: S606  (the command line is the supervisor's own)
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


def _be_nice(niceness: int) -> None:
    """Let others go first: among processes, and among sessions where the kernel shares the CPU by those."""
    if niceness:
        os.nice(niceness)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # noqa: PTH123 (bare)
            group.write(str(niceness))


if __name__ == "__main__":
    main()
