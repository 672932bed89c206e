"""One program to run, and what is expected of it."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from crucible.models.comparison import Outcome
from crucible.models.frozen import Frozen

MAX_PROGRAM_BYTES = 10 * 1024 * 1024
"""The largest program or standard input that is accepted, in bytes of UTF-8."""


class Limits(Frozen):
    """What a program may use. Seconds, MiB, KiB and counts; no program ever has a network."""

    wall_s: Annotated[float, Field(ge=0.1, le=600, title="Wall time (s)")] = 10
    cpu_s: Annotated[float, Field(ge=0.1, le=600, title="CPU time (s)")] = 5
    memory_mb: Annotated[int, Field(ge=16, le=8192, title="Memory (MiB)")] = 256
    processes: Annotated[int, Field(ge=1, le=1024, title="Processes")] = 64
    output_kb: Annotated[int, Field(ge=1, le=65536, title="Output (KiB)")] = 1024
    disk_mb: Annotated[int, Field(ge=1, le=4096, title="Files (MiB)")] = 64


_Outcomes = Annotated[tuple[Outcome, ...], Field(min_length=1)]


class Expectation(Frozen):
    """What the author of an evaluation asserts of it; a null says nothing.

    ``outcome`` may list several that are all right. ``deterministic: false`` declares that two
    runs may rightly differ.
    """

    exit_code: int | None = None
    signal: str | None = None
    stdout: str | None = None
    outcome: _Outcomes | None = None
    deterministic: bool | None = None

    @field_validator("outcome", mode="before", json_schema_input_type=Outcome | _Outcomes | None)
    @classmethod
    def _one_outcome_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value


Tag = Annotated[str, Field(min_length=1, max_length=200)]


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
    tags: Annotated[tuple[Tag, ...], Field(max_length=64)] = ()
    expect: Expectation = Expectation()
    source: str | None = None
    tenant: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @field_validator("expect", mode="before", json_schema_input_type=Expectation | None)
    @classmethod
    def _null_expects_nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("limits", mode="before", json_schema_input_type=Limits | None)
    @classmethod
    def _null_is_the_usual_limits(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("id", "language", "tags", "tenant")
    @classmethod
    def _holds_no_nul(cls, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value or ():
            if "\0" in text:
                raise ValueError("holds a NUL character, which no name has")
        return value

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
