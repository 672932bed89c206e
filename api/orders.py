"""From the body of a request to evaluations: bounded, and strict about what fits."""

from dataclasses import dataclass
from typing import Annotated

import orjson
from pydantic import Field, ValidationError

from api.problems import misfit
from crucible.corpus_faults import first_fault
from crucible.ids import new_evaluation_id, new_evaluation_ids
from crucible.models import Evaluation
from crucible.store import Submission

MAX_LIST = 1000
"""How many evaluations one request may hold."""


EXAMPLES = {
    "One program": {"language": "python", "code": "print(6 * 7)"},
    "One that says what is expected of it": {
        "id": "reads-a-line",
        "language": "python",
        "code": "print(input().upper())",
        "stdin": "crucible",
        "limits": {"wall_s": 2, "memory_mb": 64},
        "priority": 7,
        "tags": ["smoke"],
        "expect": {"outcome": "ok", "stdout": "CRUCIBLE\n"},
    },
    "Several at once": [
        {"id": "one", "language": "python", "code": "print(1)"},
        {"id": "two", "language": "python", "code": "raise SystemExit(2)"},
    ],
}
"""Bodies that are taken, by what they are."""


class PostedEvaluation(Evaluation):
    """One program to run on both legs. Without ``id`` it gets Crucible's own."""

    id: Annotated[str, Field(min_length=1, max_length=200)] = Field(default_factory=new_evaluation_id)


OrderBody = PostedEvaluation | Annotated[list[PostedEvaluation], Field(min_length=1, max_length=MAX_LIST)]
"""What a body must look like. It describes; ``parse_order`` reads."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one request asks for. ``is_list`` says that it came, and is to be answered, as a list."""

    submissions: tuple[Submission, ...]
    is_list: bool


def parse_order(body: bytes) -> Order:
    """The evaluations of ``body``, one object or a list of them, under ids of their own.

    Raises a 422 ``Problem`` that names key and problem; none of them is then taken. An evaluation
    without ``id`` is named by the one it gets here.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise misfit("", f"not JSON: {error}") from None
    is_list = isinstance(document, list)
    items = document if is_list else [document]
    if not 1 <= len(items) <= MAX_LIST:
        raise misfit("", f"a list of {len(items)} evaluations; the range is 1 to {MAX_LIST}")
    submissions = tuple(
        Submission(new_id, _evaluation(item, new_id, number if is_list else None), is_traffic=True)
        for number, (new_id, item) in enumerate(zip(new_evaluation_ids(len(items)), items, strict=True), 1)
    )
    return Order(submissions, is_list)


def _evaluation(item: object, new_id: str, number: int | None) -> Evaluation:
    if isinstance(item, dict):
        item = {"id": new_id, **item}
    try:
        # Back to JSON: only from there do lists fit tuples and names fit enums in strict mode.
        raw = orjson.dumps(item)
    except orjson.JSONEncodeError as error:
        raise misfit("", f"cannot be read: {error}", number) from None
    try:
        return Evaluation.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise misfit(*first_fault(raw, error), number) from None
