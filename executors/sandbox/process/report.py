"""What a cell tells of a program that came to its end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """Wait status, times and counts of the program's last stage.

    ``killed_for`` names the limit, or ``cancelled``, for which the cell ended it, else null.
    ``out_of_memory_kills`` and ``refused_processes`` are the kernel's counts over the whole run.
    """

    number: int
    compiling: bool
    status: int
    killed_for: str | None
    duration_s: float
    cpu_s: float
    peak_bytes: int
    out_of_memory_kills: int
    refused_processes: int
    disk_full: bool
    stdout_truncated: bool
    stderr_truncated: bool
