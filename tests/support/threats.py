"""Programs that mean harm, and what they are asked to try."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crucible.models import Limits
from executors.sandbox.interface import Program, Stage
from executors.sandbox.supervision.files import File

SOON = Limits(wall_s=10, cpu_s=1, memory_mb=128, disk_mb=64)
"""Limits at which a compiler that will not end by itself does so before long."""

_SYSTEM_CALLS = """
import ctypes, platform
_libc = ctypes.CDLL(None, use_errno=True)
_column = ["x86_64", "aarch64"].index(platform.machine())
def attempt(numbers, *arguments):
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(numbers[_column]), *(ctypes.c_long(each) for each in arguments))
    return ctypes.get_errno() if result == -1 else 0
"""


def compiler(file: str, code: str, limits: Limits = SOON) -> Program:
    """The compilation of ``file``, in C or C++ by its name."""
    command = "/usr/bin/g++" if file.endswith(".cpp") else "/usr/bin/gcc"
    stage = Stage((command, "-o", "/box/main", f"/box/{file}"), limits)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/box", "LANG": "C.UTF-8"}
    return Program("native", (File(file, code.encode()),), b"", environment, stage)


def attempts(calls: Mapping[str, tuple[tuple[int, int], tuple[int, ...]]]) -> str:
    """Python code that prints the errno of each system call, 0 where it went through.

    A call is its numbers on x86_64 and aarch64, and its arguments.
    """
    return (
        f"{_SYSTEM_CALLS}\ncalls = {dict(calls)!r}\n"
        "print({name: attempt(numbers, *arguments) for name, (numbers, arguments) in calls.items()})"
    )


@contextmanager
def canary(text: str) -> Iterator[Path]:
    """A file on the host that holds ``text`` and that no permission keeps anybody from reading."""
    with tempfile.TemporaryDirectory(prefix="crucible-test-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "canary")
        file.write_text(text, encoding="utf-8")
        yield file
