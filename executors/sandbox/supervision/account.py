"""One program's account: opened before it starts, closed into the report once it has ended."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from executors.sandbox.supervision.books import Books
from executors.sandbox.supervision.files import File, TooLargeError, collect
from executors.sandbox.supervision.meter import Meter
from executors.sandbox.supervision.order import Order
from executors.sandbox.supervision.supervisor import Supervisor

KERNEL_BYTES = 4 << 20
"""What the kernel holds for a watched program: namespaces, page tables, and full pipes of one MiB each."""

_FOLDER = "/box"


def watcher_bytes(order: Order) -> int:
    """Memory that a program's watcher comes to use on its account while it runs."""
    return order.file_bytes + 2 * order.stage.output_bytes + KERNEL_BYTES


@contextmanager
def wake_pipe() -> Iterator[int]:
    """A descriptor that is readable once a handled signal has arrived."""
    wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(-1)  # a slot, whose memory its cells share, has this setting too


class Account:
    """Counts as they stood before the program; ``books`` are null where the kernel keeps none for us.

    ``scratch`` are the places it may write to.
    """

    def __init__(self, meter: Meter, books: Books | None, scratch: tuple[str, ...]) -> None:
        self._meter = meter
        self._books = books
        self._scratch = scratch
        self._refused = meter.refused_processes()
        self._kills = books.out_of_memory_kills() if books else 0
        self._used_bytes = books.usage_bytes() if books else 0

    def close(self, order: Order, seen: Supervisor) -> tuple[dict[str, object], list[bytes | bytearray]]:
        """The report and its blobs: both streams, and the files left behind if they were asked for."""
        status, ended, peak_kb = seen.ended
        report: dict[str, object] = {
            "number": order.number,
            "status": status,
            "killed_for": seen.killed_for,
            "duration_s": ended - seen.started,
            "cpu_s": seen.cpu_s,
            "peak_bytes": self._peak_bytes(peak_kb << 10),
            "out_of_memory_kills": self._books.out_of_memory_kills() - self._kills if self._books else 0,
            "refused_processes": self._meter.refused_processes() - self._refused,
            "disk_full": any(map(_is_full, self._scratch)),
            "stdout_truncated": seen.stdout.overflowed,
            "stderr_truncated": seen.stderr.overflowed,
        }
        left: list[File] = []
        if order.collect and not seen.failed:
            try:
                left = collect(_FOLDER)
            except TooLargeError:
                report["killed_for"] = "disk_limit"
        report["files"] = [[file.path, file.executable] for file in left]
        return report, [seen.stdout.kept, seen.stderr.kept, *(file.content for file in left)]

    def _peak_bytes(self, of_main: int) -> int:
        """The program's own; for want of books that is ``of_main``, what its main process had resident."""
        peak = self._books.peak_bytes() if self._books else None
        return of_main if peak is None else max(0, peak - self._used_bytes)


def _is_full(folder: str) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail == 0 or state.f_favail == 0
