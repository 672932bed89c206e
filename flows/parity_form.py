"""The parameters of a parity sweep, as the form of the Prefect UI asks for them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from crucible.models import Verdict
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


def _asks(title: str, description: str, **rules: Any) -> FieldInfo:
    # Prefect keeps of an annotation's field what is under ``json_schema_extra``, and drops the rest.
    asks: FieldInfo = Field(json_schema_extra={"title": title, "description": description}, **rules)
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
