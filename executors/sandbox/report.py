"""What whoever watched a program tells of its end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """Wait status, times and counts.

    ``killed_for`` names the limit, or ``cancelled``, for which the program was ended, else null.
    ``out_of_memory_kills`` and ``refused_processes`` are the kernel's counts over the whole run.
    """

    number: int
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
