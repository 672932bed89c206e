"""The frames a sandbox exchanges with those who watch its programs, and what these report of an end."""

from dataclasses import dataclass
from typing import Any

from executors.sandbox.interface import Program
from executors.sandbox.supervision.files import File


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


@dataclass(frozen=True)
class Ran:
    """A program's end as its watcher tells it; ``files`` are those it left, where they were asked for."""

    report: Report
    stdout: bytes
    stderr: bytes
    files: tuple[File, ...]


def frame(number: int, program: Program, *, collect: bool) -> tuple[Any, ...]:
    """Header and blobs that order ``program``; the answer carries the same ``number``."""
    limits = program.stage.limits
    header = {
        "number": number,
        "environment": dict(program.environment),
        "collect": collect,
        "files": [[file.path, file.executable] for file in program.files],
        "stage": {
            "argv": program.stage.argv,
            "wall_s": limits.wall_s,
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_mb << 20,
            "processes": limits.processes,
            "output_bytes": limits.output_kb << 10,
            "disk_bytes": limits.disk_mb << 20,
        },
    }
    return (header, *(file.content for file in program.files), program.stdin)


def read(header: dict[str, Any], blobs: list[bytes]) -> Ran:
    """The answer to an order."""
    stdout, stderr, *contents = blobs
    files = tuple(
        File(path, content, executable)
        for (path, executable), content in zip(header.pop("files"), contents, strict=True)
    )
    return Ran(Report(**header), stdout, stderr, files)
