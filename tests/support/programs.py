"""Programs for sandboxes, and what the tests look for on the host while they run."""

import sys
from pathlib import Path

import psutil

from crucible.models import Limits, Observation, Outcome
from executors.sandbox.interface import Program, Sandbox, Stage
from executors.sandbox.process.sandbox import ProcessSandbox, View
from executors.sandbox.supervision.files import File

SLOTS = 2
_SYSTEM_PYTHON = Path("/usr/bin/python3")
PYTHON = str(
    _SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else (Path(sys.base_exec_prefix) / "bin" / "python3").resolve()
)
"""The interpreter of the tests' programs: the system's if there is one, at the same path in every sandbox."""
QUICK = Limits(wall_s=20, cpu_s=10)
"""Limits that no test's program reaches unless it means to."""

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/box", "LANG": "C.UTF-8"}


def process_sandbox(slots: int = SLOTS, *, cgroups: bool | None = None) -> ProcessSandbox:
    """A process sandbox in which ``PYTHON`` is in sight; not open yet."""
    prefix = str(Path(PYTHON).parents[1])
    folders = () if PYTHON.startswith("/usr/") else (prefix,)
    return ProcessSandbox(slots, PYTHON, View(folders), cgroups=cgroups)


def python(code: str, stdin: bytes = b"", limits: Limits = QUICK, argument: str = "") -> Program:
    """A Python program; ``argument`` makes its processes known on the host."""
    argv = (PYTHON, "-I", "-S", "/box/main.py", *([argument] if argument else []))
    return Program("script", (File("main.py", code.encode()),), stdin, _ENVIRONMENT, Stage(argv, limits))


def shell(code: str, stdin: bytes = b"", limits: Limits = QUICK) -> Program:
    """A bash script."""
    stage = Stage(("/bin/bash", "/box/main.sh"), limits)
    return Program("script", (File("main.sh", code.encode()),), stdin, _ENVIRONMENT, stage)


def c_compiler(code: str) -> Program:
    """The compilation of a C program."""
    stage = Stage(("/usr/bin/gcc", "-o", "/box/main", "/box/main.c"), Limits(wall_s=60, cpu_s=30))
    return Program("native", (File("main.c", code.encode()),), b"", _ENVIRONMENT, stage)


async def run_c(sandbox: Sandbox, code: str, limits: Limits = QUICK) -> Observation:
    """A C program, compiled and run; the compiler's observation where that fails."""
    seen, made = await sandbox.compile(c_compiler(code), "compile")
    if seen.outcome is not Outcome.OK:
        return seen
    stage = Stage(("/box/main",), limits)
    return await sandbox.run(Program("native", made, b"", _ENVIRONMENT, stage), "compiled")


def processes_with(marker: str) -> list[psutil.Process]:
    """The processes on this machine that have ``marker`` in their command line, this one left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != psutil.Process().pid and any(marker in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
