"""Evidence that two queues agree: figures worked out by hand and by others, and laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import InputError
from crucible.evidence import Question, evidence
from crucible.verdict import rate_upper_bound

ASKED = Question(p0=0.01, alpha=0.05)
COUNTS = st.integers(0, 3000).flatmap(lambda pairs: st.tuples(st.just(pairs), st.integers(0, pairs)))


def needed(mismatches: int, question: Question) -> int:
    """The fewest pairs that are a GO with so many mismatches."""
    low, high = mismatches, 10**7
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if evidence(middle, mismatches, question).go else (middle, high)
    return high


@pytest.mark.parametrize(
    ("p0", "pairs"),
    [(0.01, (325, 683, 1102)), (0.001, (3263, 6853, 11056)), (0.0001, (32640, 68551, 110591))],
)
def test_so_many_pairs_are_needed_with_none_one_and_three_mismatches(
    p0: float, pairs: tuple[int, ...]
) -> None:
    assert tuple(needed(mismatches, Question(p0, 0.05)) for mismatches in (0, 1, 3)) == pairs


def test_looking_all_the_time_costs_nine_percent_more_pairs_than_looking_once() -> None:
    once = math.ceil(math.log(0.05) / math.log(1 - 0.01))
    assert 1.08 < needed(0, ASKED) / once < 1.10


def test_the_e_value_is_what_the_formula_gives_by_hand() -> None:
    by_hand = (
        0.25 * 0.1**2 * ((1 - 0.001) / 0.99) ** 398 + 0.25 * (1 / 3) ** 2 * ((1 - 0.01 / 3) / 0.99) ** 398
    )
    assert evidence(400, 2, ASKED).e_value == pytest.approx(by_hand)


def test_without_pairs_there_is_no_evidence_and_all_is_to_do() -> None:
    found = evidence(0, 0, ASKED)
    assert (found.e_value, found.go, found.mismatch_rate_upper, found.pairs_to_go) == (1.0, False, 1.0, 325)


@given(COUNTS)
def test_a_mismatch_more_is_never_better_and_a_match_more_never_worse(counts: tuple[int, int]) -> None:
    pairs, mismatches = counts
    here = evidence(pairs, mismatches, ASKED).e_value
    assert evidence(pairs + 1, mismatches + 1, ASKED).e_value <= here
    assert evidence(pairs + 1, mismatches, ASKED).e_value >= here


@given(COUNTS)
def test_the_upper_bound_is_where_go_begins(counts: tuple[int, int]) -> None:
    found = evidence(*counts, ASKED)
    upper = found.mismatch_rate_upper
    assert found.go == (upper <= ASKED.p0)
    if upper < 0.99:
        assert evidence(*counts, Question(upper * 1.0001, ASKED.alpha)).go
        assert not evidence(*counts, Question(upper * 0.9999, ASKED.alpha)).go


@given(COUNTS.filter(lambda counts: counts[0] > 0))
def test_the_upper_bound_is_above_that_of_somebody_who_looks_once(counts: tuple[int, int]) -> None:
    pairs, mismatches = counts
    once = rate_upper_bound(mismatches, pairs)
    assert once is not None
    assert evidence(pairs, mismatches, ASKED).mismatch_rate_upper >= once - 1e-9


@pytest.mark.parametrize("clean", [0, 1, 100, 324])
def test_clean_pairs_to_go_are_exact(clean: int) -> None:
    assert evidence(clean, 0, ASKED).pairs_to_go == 325 - clean


@given(st.integers(50, 5000), st.integers(1, 40))
def test_pairs_to_go_at_the_rate_seen_lead_to_go_and_one_less_does_not(pairs: int, mismatches: int) -> None:
    to_go = evidence(pairs, mismatches, ASKED).pairs_to_go
    rate = mismatches / pairs
    if to_go is None:
        assert rate > 0.0033
        assert not evidence(pairs * 1000, mismatches * 1000, ASKED).go
    elif to_go:
        # Where so many more bring a whole number of mismatches, the forecast can be tried.
        whole = math.ceil(to_go / pairs) * pairs
        assert evidence(pairs + whole, mismatches + mismatches * whole // pairs, ASKED).go


def test_at_a_rate_that_is_too_high_it_is_never() -> None:
    assert evidence(1000, 10, ASKED).pairs_to_go is None
    assert evidence(10_000, 65, ASKED).pairs_to_go is None


@pytest.mark.parametrize(("pairs", "mismatches"), [(-1, 0), (3, 4), (3, -1)])
def test_counts_that_cannot_be_are_refused(pairs: int, mismatches: int) -> None:
    with pytest.raises(InputError, match="cannot be"):
        evidence(pairs, mismatches, ASKED)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 7.0])
def test_rates_that_are_none_are_refused(value: float) -> None:
    for wrong in ({"p0": value}, {"alpha": value}):
        with pytest.raises(InputError, match="between 0 and 1"):
            Question(**wrong)
