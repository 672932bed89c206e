"""Mismatches in groups, and the chance of one that nobody has seen."""

import pytest

from crucible.errors import InputError
from crucible.fingerprints import causes, unseen
from crucible.models import Classification
from tests.support.comparisons import differ


def test_mismatches_are_grouped_and_the_commonest_cause_comes_first() -> None:
    zones = [differ("00:00:00\n", "09:00:00\n", language) for language in ("python", "bash")]
    order = differ("a b\n", "b a\n")
    first, second = causes([order, *zones, differ("same\n", "same\n")])
    assert (first.count, first.languages, first.summary) == (2, ("bash", "python"), "another time zone")
    assert (first.first, first.last) == (zones[0].evaluation_id, zones[1].evaluation_id)
    assert (second.count, second.example) == (1, order.evaluation_id)


def test_the_example_of_a_cause_is_the_one_with_the_least_output() -> None:
    long = differ("a b " + "c" * 500, "b a " + "c" * 500)
    short = differ("a b", "b a")
    (cause,) = causes([long, short])
    assert cause.example == short.evaluation_id


def test_what_varies_by_itself_has_no_cause_to_count() -> None:
    varying = differ("a b\n", "b a\n").model_copy(update={"classification": Classification.NONDETERMINISTIC})
    assert causes([varying]) == ()


@pytest.mark.parametrize(
    ("counts", "pairs", "chance"),
    [
        ({}, 0, 1.0),
        ({}, 100, 0.0),
        ({"a": 1, "b": 2, "c": 1}, 200, 0.01),
        ({"a": 3}, 3, 0.0),
        ({"a": 1}, 1, 1.0),
    ],
)
def test_the_chance_of_an_unseen_cause_is_the_share_of_those_seen_once(
    counts, pairs: int, chance: float
) -> None:
    assert unseen(counts, pairs) == pytest.approx(chance)


@pytest.mark.parametrize(("counts", "pairs"), [({"a": 2}, 1), ({"a": -1}, 5)])
def test_counts_that_cannot_be_are_refused(counts, pairs: int) -> None:
    with pytest.raises(InputError, match="cannot be among"):
        unseen(counts, pairs)
