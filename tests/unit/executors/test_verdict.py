"""From what cell and kernel counted to an observation."""

import dataclasses
import signal

import pytest

from crucible.models import Outcome
from executors.sandbox import verdict
from executors.sandbox.orders import Report

QUIET = Report(
    number=1,
    status=0,
    killed_for=None,
    duration_s=0.25,
    cpu_s=0.125,
    peak_bytes=3 << 20,
    out_of_memory_kills=0,
    refused_processes=0,
    disk_full=False,
    stdout_truncated=False,
    stderr_truncated=False,
)


def exited(code: int) -> int:
    """The wait status of a program that ended with ``code``."""
    return code << 8


def judged(*, compiling: bool = False, **changes: object) -> tuple[Outcome, int | None, str | None]:
    seen = verdict.observe(dataclasses.replace(QUIET, **changes), b"", b"", "level", compiling=compiling)
    return seen.outcome, seen.exit_code, seen.signal


@pytest.mark.parametrize("code", [0, 1, 128 + signal.SIGKILL, 255])
def test_an_exit_code_is_told_as_it_is(code: int) -> None:
    assert judged(status=exited(code)) == (Outcome.NONZERO_EXIT if code else Outcome.OK, code, None)


@pytest.mark.parametrize(
    ("number", "name"),
    [(6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (35, "SIGRTMIN+1"), (64, "SIGRTMAX")],
)
def test_a_signal_is_told_by_name_and_leaves_no_exit_code(number: int, name: str) -> None:
    assert judged(status=number) == (Outcome.SIGNALLED, None, name)


@pytest.mark.parametrize("limit", ["cpu_limit", "wall_limit", "memory_limit", "output_limit", "cancelled"])
@pytest.mark.parametrize("status", [exited(0), exited(3), int(signal.SIGSEGV)])
def test_what_the_platform_ended_reads_the_same_whoever_won_the_race(limit: str, status: int) -> None:
    assert judged(killed_for=limit, status=status) == (Outcome(limit), None, "SIGKILL")


@pytest.mark.parametrize("status", [exited(0), exited(1), int(signal.SIGKILL)])
def test_a_kill_for_want_of_memory_is_the_memory_limit_whichever_process_it_hit(status: int) -> None:
    assert judged(out_of_memory_kills=1, status=status) == (Outcome.MEMORY_LIMIT, None, "SIGKILL")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": int(signal.SIGSYS)}, Outcome.SECURITY_VIOLATION),
        ({"status": int(signal.SIGXFSZ)}, Outcome.DISK_LIMIT),
        ({"status": exited(1), "disk_full": True}, Outcome.DISK_LIMIT),
        ({"status": exited(1), "refused_processes": 3}, Outcome.PROCESS_LIMIT),
        ({"status": exited(1), "compiling": True}, Outcome.COMPILE_ERROR),
        ({"status": int(signal.SIGSEGV), "compiling": True}, Outcome.COMPILE_ERROR),
        ({"status": exited(1), "compiling": True, "disk_full": True}, Outcome.DISK_LIMIT),
    ],
)
def test_a_failure_is_told_by_its_cause(changes: dict[str, object], outcome: Outcome) -> None:
    assert judged(**changes)[0] is outcome


@pytest.mark.parametrize("changes", [{"disk_full": True}, {"refused_processes": 9}])
def test_a_program_that_copes_with_a_limit_is_ok(changes: dict[str, object]) -> None:
    assert judged(**changes) == (Outcome.OK, 0, None)


def test_streams_times_and_level_are_passed_on() -> None:
    report = dataclasses.replace(QUIET, stdout_truncated=True)
    seen = verdict.observe(report, b"\xff\0", b"err", "level")
    assert (seen.stdout, seen.stderr) == (b"\xff\0", b"err")
    assert (seen.stdout_truncated, seen.stderr_truncated) == (True, False)
    assert (seen.duration_s, seen.cpu_s, seen.memory_peak_mb) == (0.25, 0.125, 3.0)
    assert seen.isolation_level == "level"


def test_a_run_whose_cell_went_with_it_says_that_its_output_is_lost() -> None:
    seen = verdict.out_of_memory("level")
    assert (seen.outcome, seen.signal) == (Outcome.MEMORY_LIMIT, "SIGKILL")
    assert seen.stdout_truncated
    assert seen.stderr_truncated
