"""What one leg saw of one evaluation."""

from base64 import b64decode
from enum import StrEnum
from functools import cached_property
from typing import Literal

from crucible.models.frozen import Frozen

Leg = Literal["legacy", "celery"]
LEGS: tuple[Leg, Leg] = ("legacy", "celery")


class Outcome(StrEnum):
    """How a run ended, judged by wait status and kernel counters, never by what was printed."""

    OK = "ok"
    NONZERO_EXIT = "nonzero_exit"
    SIGNALLED = "signalled"
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    DISK_LIMIT = "disk_limit"
    COMPILE_ERROR = "compile_error"
    SECURITY_VIOLATION = "security_violation"
    CANCELLED = "cancelled"
    QUEUE_TIMEOUT = "queue_timeout"
    REJECTED = "rejected"
    SANDBOX_ERROR = "sandbox_error"
    """The platform's fault; never scored as the program's."""


class Observation(Frozen):
    """What one leg saw. ``stdout_b64`` and ``stderr_b64`` are exact bytes in canonical base64.

    ``exit_code`` is null when a signal ended the program, and ``signal`` is then its name
    (``SIGSEGV``); a program that itself exits with 139 has ``exit_code`` 139 and no signal.
    Times are in seconds, memory in MiB. Truncated streams hold the prefix, never the tail.
    ``detail`` is the platform's own remark (why a sandbox failed), never the program's words,
    and is not compared.
    """

    outcome: Outcome
    exit_code: int | None = None
    signal: str | None = None
    stdout_b64: str = ""
    stderr_b64: str = ""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    duration_s: float = 0.0
    cpu_s: float = 0.0
    memory_peak_mb: float = 0.0
    executor: str = ""
    isolation_level: str = ""
    leg: Leg | None = None
    detail: str | None = None

    @cached_property
    def stdout(self) -> bytes:
        """The bytes the program wrote to standard output."""
        return b64decode(self.stdout_b64)

    @cached_property
    def stderr(self) -> bytes:
        """The bytes the program wrote to standard error."""
        return b64decode(self.stderr_b64)
