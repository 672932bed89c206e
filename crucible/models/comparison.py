"""What a leg saw of a program, and what comparing both legs came to."""

from base64 import b64decode
from enum import StrEnum
from functools import cached_property
from typing import Literal

import pydantic

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


class Classification(StrEnum):
    """Where an evaluation ends in the ledger."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NONDETERMINISTIC = "nondeterministic"
    UNPAIRED = "unpaired"
    CANCELLED = "cancelled"
    NOT_SAMPLED = "not_sampled"


class Field(StrEnum):
    """What is compared, in the order in which a reader cares."""

    OUTCOME = "outcome"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    STDOUT = "stdout"
    STDERR = "stderr"


class Difference(Frozen):
    """One field on which the legs disagree. Streams are given as base64, the rest as text."""

    field: Field
    legacy: str
    celery: str


class Comparison(Frozen):
    """One evaluation, seen by both legs.

    ``evaluation_id`` is Crucible's own id (unique over all sweeps); ``name`` is the author's id.
    ``missed_expectations`` is one sentence for each assertion of the author that both legs
    agree in not meeting. ``reasons`` says why a side is missing, by leg. ``reruns`` counts the
    confirming runs that went into the classification.

    ``normalised_by`` names the rules without which the sides would differ; their raw bytes are kept.
    ``cause`` is the fingerprint of a mismatch. ``answered_by`` is the leg whose observation is the answer,
    for evaluations that came in as traffic. ``waited_s`` is how long each leg took beside the program's own
    time.
    """

    evaluation_id: str
    name: str
    language: str
    classification: Classification
    differences: tuple[Difference, ...] = ()
    legacy: Observation | None = None
    celery: Observation | None = None
    missed_expectations: tuple[str, ...] = ()
    reasons: dict[Leg, str] = pydantic.Field(default_factory=dict)
    reruns: int = 0
    flow_run_ids: tuple[str, ...] = ()
    normalised_by: tuple[str, ...] = ()
    cause: str | None = None
    answered_by: Leg | None = None
    waited_s: dict[Leg, float] = pydantic.Field(default_factory=dict)

    @property
    def unexpected(self) -> bool:
        """Whether both legs agree with each other and not with the author."""
        return self.classification is Classification.MATCH and bool(self.missed_expectations)
