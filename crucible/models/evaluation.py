"""One program to run, and what is expected of it."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from crucible.models.frozen import Frozen
from crucible.models.observation import Outcome

MAX_PROGRAM_BYTES = 10 * 1024 * 1024
"""The largest program or standard input that is accepted, in bytes of UTF-8."""


class Limits(Frozen):
    """What a program may use. Seconds, MiB, KiB and counts; no program ever has a network."""

    wall_s: Annotated[float, Field(ge=0.1, le=600)] = 10
    cpu_s: Annotated[float, Field(ge=0.1, le=600)] = 5
    memory_mb: Annotated[int, Field(ge=16, le=8192)] = 256
    processes: Annotated[int, Field(ge=1, le=1024)] = 64
    output_kb: Annotated[int, Field(ge=1, le=65536)] = 1024
    disk_mb: Annotated[int, Field(ge=1, le=4096)] = 64


class Expectation(Frozen):
    """What the author of an evaluation asserts of it; a null says nothing.

    ``outcome`` may list several that are all right. ``deterministic: false`` declares that two
    runs may rightly differ.
    """

    exit_code: int | None = None
    signal: str | None = None
    stdout: str | None = None
    outcome: Annotated[tuple[Outcome, ...], Field(min_length=1)] | None = None
    deterministic: bool | None = None

    @field_validator("outcome", mode="before")
    @classmethod
    def _one_outcome_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value


class Evaluation(Frozen):
    """One program to run on both legs.

    ``id`` is the author's name for it, unique within a corpus. ``priority`` runs from 0 to 9,
    9 first. ``code`` and ``stdin`` are text, sent to the program as UTF-8. ``tenant`` is whose it is: all of
    one tenant's evaluations go the same way in a migration.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    language: Annotated[str, Field(min_length=1, max_length=40)]
    code: str
    stdin: str = ""
    limits: Limits = Limits()
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    tags: tuple[str, ...] = ()
    expect: Expectation = Expectation()
    source: str | None = None
    tenant: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @field_validator("expect", "limits", mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("code", "stdin")
    @classmethod
    def _fits_and_is_utf8(cls, value: str) -> str:
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise ValueError(
                f"holds a lone surrogate at character {error.start}; UTF-8 cannot carry it"
            ) from error
        if size > MAX_PROGRAM_BYTES:
            raise ValueError(f"is {size} bytes; the limit is {MAX_PROGRAM_BYTES}")
        return value

    @property
    def declared_nondeterministic(self) -> bool:
        """Whether the author says that two runs may rightly differ."""
        return self.expect.deterministic is False
