"""Ends what outlives its stack: ``+ID`` and ``-ID`` on standard input say which process groups belong to it.

When the input ends, because the stack's process did in whatever way, the groups that still belong to it
are killed. The kernel kills the services by itself (see ``launch``), but not what they have started.
A file of its own, run by a bare interpreter: it must not share the fate of anything else.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Reads until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        change = groups.add if line.startswith(b"+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
