"""The parameters of flows, as forms of the Prefect UI ask for them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from crucible.models import Limits, Verdict
from executors.languages import LANGUAGES
from flows.corpora import BUNDLED


class Notify(StrEnum):
    """When somebody is told."""

    NEVER = "never"
    FAIL = "when it fails"
    UNLESS_PASS = "unless it passes"  # noqa: S105 (a verdict, no password)

    def is_due(self, verdict: Verdict) -> bool:
        """Whether ``verdict`` is one to tell of."""
        if self is Notify.UNLESS_PASS:
            return verdict is not Verdict.PASS
        return self is Notify.FAIL and verdict is Verdict.FAIL


def _asks(title: str, description: str, more: dict[str, Any] | None = None, **rules: Any) -> FieldInfo:
    # Prefect keeps of an annotation's field what is under ``json_schema_extra``, and drops the rest.
    extra = {"title": title, "description": description, **(more or {})}
    asks: FieldInfo = Field(json_schema_extra=extra, **rules)
    return asks


Corpora = Annotated[
    tuple[str, ...],
    _asks(
        "Corpora",
        f"Files (JSON Lines) on the machine that runs the sweep; `{BUNDLED}` is the corpus that comes along.",
    ),
]
Recorded = Annotated[
    int,
    _asks(
        "Recorded evaluations",
        "How many of the newest that came in by the API to run again, each program once. 0: none.",
        ge=0,
    ),
]
Limit = Annotated[
    int,
    _asks("At most", "Take so many evaluations and leave out the rest. 0: take all.", ge=0),
]
MinEvaluations = Annotated[
    int,
    _asks("Least number of equal pairs", "With fewer, the verdict is inconclusive and no pass.", ge=1),
]
IgnoreExpectations = Annotated[
    bool,
    _asks(
        "Ignore expectations",
        "Do not fail where both legs agree with each other and miss what the corpus expects.",
    ),
]
WhenToNotify = Annotated[Notify, _asks("Notify the webhook", "When to post the verdict to the webhook.")]


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
