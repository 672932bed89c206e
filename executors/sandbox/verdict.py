"""From what cell and kernel counted to an observation."""

import os
import signal
from base64 import b64encode

from crucible.models import Observation, Outcome
from executors.sandbox.orders import Report

_ENFORCED = {
    "cpu_limit": Outcome.CPU_LIMIT,
    "wall_limit": Outcome.WALL_LIMIT,
    "memory_limit": Outcome.MEMORY_LIMIT,
    "output_limit": Outcome.OUTPUT_LIMIT,
    "disk_limit": Outcome.DISK_LIMIT,
    "cancelled": Outcome.CANCELLED,
}
_MIB = 1 << 20


def observe(
    report: Report, stdout: bytes, stderr: bytes, isolation_level: str, *, compiling: bool = False
) -> Observation:
    """The observation of a run that came to its end.

    Where the platform ended the program at a limit, the exit is reported as ``SIGKILL`` even if the
    program happened to get to its own end first: which of the two came first is a race, and would
    make two equal runs differ.
    """
    exit_code, signal_name = _exit(report.status)
    outcome = _outcome(report, exit_code, signal_name)
    if compiling and outcome in {Outcome.NONZERO_EXIT, Outcome.SIGNALLED}:
        outcome = Outcome.COMPILE_ERROR
    if report.killed_for or report.out_of_memory_kills:
        exit_code, signal_name = None, signal.SIGKILL.name
    return Observation(
        outcome=outcome,
        exit_code=exit_code,
        signal=signal_name,
        stdout_b64=b64encode(stdout).decode(),
        stderr_b64=b64encode(stderr).decode(),
        stdout_truncated=report.stdout_truncated,
        stderr_truncated=report.stderr_truncated,
        duration_s=round(report.duration_s, 6),
        cpu_s=round(report.cpu_s, 6),
        memory_peak_mb=round(report.peak_bytes / _MIB, 3),
        isolation_level=isolation_level,
    )


def out_of_memory(isolation_level: str) -> Observation:
    """The observation of a run in which the kernel's want of memory took the cell along."""
    return Observation(
        outcome=Outcome.MEMORY_LIMIT,
        signal=signal.SIGKILL.name,
        stdout_truncated=True,
        stderr_truncated=True,
        isolation_level=isolation_level,
        detail="the cell was ended with its program; what it wrote is lost",
    )


def _outcome(report: Report, exit_code: int | None, signal_name: str | None) -> Outcome:
    if report.killed_for:
        return _ENFORCED[report.killed_for]
    if report.out_of_memory_kills:  # whichever of its processes the kernel chose
        return Outcome.MEMORY_LIMIT
    if exit_code == 0:
        return Outcome.OK
    if (limit := _limit_met(report, signal_name)) is not None:
        return limit
    return Outcome.NONZERO_EXIT if signal_name is None else Outcome.SIGNALLED


def _limit_met(report: Report, signal_name: str | None) -> Outcome | None:
    """The limit that a program which failed has met with, by the kernel's own account."""
    if signal_name == signal.SIGSYS.name:
        return Outcome.SECURITY_VIOLATION
    if signal_name == signal.SIGXFSZ.name or report.disk_full:
        return Outcome.DISK_LIMIT
    if report.refused_processes:
        return Outcome.PROCESS_LIMIT
    return None


def _exit(status: int) -> tuple[int | None, str | None]:
    if os.WIFSIGNALED(status):
        return None, signal_label(os.WTERMSIG(status))
    return os.WEXITSTATUS(status), None


def signal_label(number: int) -> str:
    """The name of a signal; real-time ones, which have none, are counted from SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
