"""From bytes to evaluations: what fits is taken as it is, what does not is named."""

import json
from http import HTTPStatus

import pytest

from api.orders import MAX_LIST, parse_order
from api.problems import Problem
from crucible.models import Limits, Outcome

PROGRAM: dict[str, object] = {"id": "a", "language": "python", "code": "print(1)"}


def refused(body: object) -> Problem:
    """The problem that ``body`` is answered; bytes are taken as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Problem) as caught:
        parse_order(raw)
    assert caught.value.status is HTTPStatus.UNPROCESSABLE_ENTITY
    return caught.value


def test_everything_an_evaluation_has_can_be_posted() -> None:
    whole = PROGRAM | {
        "stdin": "in\0put",
        "limits": {"wall_s": 1, "memory_mb": 64},
        "priority": 9,
        "tags": ["x", "y"],
        "expect": {"outcome": ["ok", "wall_limit"], "exit_code": 0},
        "source": "mine",
    }
    (submission,) = parse_order(json.dumps(whole).encode()).submissions
    evaluation = submission.evaluation
    assert (evaluation.id, evaluation.stdin, evaluation.priority) == ("a", "in\0put", 9)
    assert evaluation.limits == Limits(wall_s=1, memory_mb=64)
    assert evaluation.expect.outcome == (Outcome.OK, Outcome.WALL_LIMIT)


def test_ids_of_a_list_are_all_different_even_when_names_are_not() -> None:
    order = parse_order(json.dumps([PROGRAM] * MAX_LIST).encode())
    assert order.is_list
    assert len({each.id for each in order.submissions}) == MAX_LIST


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"code": "\xff"}', b'{"code": "\\ud800"}', b"[NaN]", b"[" * 5000],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refused(body).detail.startswith("not JSON: ")


@pytest.mark.parametrize(
    ("changes", "key", "part"),
    [
        ({"cod": ""}, "cod", "unknown key"),
        ({"limits": {"wall_s": 0}}, "limits.wall_s", "the range is 0.1 to 600"),
        ({"limits": {"wall": 1}}, "limits.wall", "unknown key"),
        ({"priority": "5"}, "priority", "must be a whole number"),
        ({"code": 1}, "code", "must be text"),
        ({"id": None}, "id", "must be text"),
        ({"id": ""}, "id", "must not be empty"),
        ({"expect": {"outcome": "fine"}}, "expect.outcome", "no outcome is called 'fine'"),
    ],
)
def test_a_misfit_is_refused_by_key_and_problem(changes: dict[str, object], key: str, part: str) -> None:
    problem = refused(PROGRAM | changes)
    assert problem.more["key"] == key
    assert part in str(problem.more["problem"])
    assert problem.detail == f"key {key!r}: {problem.more['problem']}"


def test_a_missing_key_is_named() -> None:
    problem = refused({"language": "python"})
    assert (problem.more["key"], "missing" in problem.detail) == ("code", True)


@pytest.mark.parametrize("body", [3, "text", None, True])
def test_what_is_no_object_is_refused(body: object) -> None:
    assert "must be an object" in refused(body).detail


@pytest.mark.parametrize("length", [0, MAX_LIST + 1])
def test_a_list_of_a_wrong_length_is_refused(length: int) -> None:
    assert f"the range is 1 to {MAX_LIST}" in refused([PROGRAM] * length).detail


def test_the_place_in_a_list_is_told_from_one() -> None:
    problem = refused([PROGRAM, PROGRAM | {"code": None}])
    assert problem.more["number"] == 2
    assert problem.detail.startswith("evaluation 2, key 'code': ")


def test_nesting_that_json_can_carry_and_we_cannot_is_refused() -> None:
    nested: object = 1
    for _ in range(500):
        nested = [nested]
    assert "cannot be read" in refused(PROGRAM | {"tags": nested}).detail
