"""The parameters of one evaluation, as the form of the Prefect UI asks for them."""

from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from crucible.models import Limits
from executors.languages import LANGUAGES


def _asks(title: str, description: str, more: dict[str, Any] | None = None, **rules: Any) -> FieldInfo:
    # Prefect keeps of an annotation's field what is under ``json_schema_extra``, and drops the rest.
    extra = {"title": title, "description": description, **(more or {})}
    asks: FieldInfo = Field(json_schema_extra=extra, **rules)
    return asks


Language = Annotated[
    str,
    _asks(
        "Language",
        "What the program is written in; `crucible execute --help` tells which of them run here.",
        {"enum": sorted(LANGUAGES)},
    ),
]
Code = Annotated[str, _asks("Program", "Its source, whole.")]
Stdin = Annotated[str, _asks("Standard input", "What the program can read.")]
Priority = Annotated[
    int,
    _asks(
        "Priority",
        "From 0 to 9; what has 9 is run first.",
        {"minimum": 0, "maximum": 9},
        ge=0,
        le=9,
    ),
]
ProgramLimits = Annotated[
    Limits,
    _asks(
        "Limits",
        "Seconds of wall and CPU time, MiB of memory and of files, KiB of output, and processes.",
    ),
]
Tags = Annotated[tuple[str, ...], _asks("Tags", "Words to find it by.")]
