"""From counts to a verdict and a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import LedgerImbalance
from crucible.models import Classification, Counts, Verdict
from crucible.verdict import judge, mismatch_rate_upper, rate_upper_bound


def counts(**columns: int) -> Counts:
    unexpected = columns.pop("unexpected", 0)
    return Counts(submitted=sum(columns.values()), unexpected=unexpected, **columns)


def test_enough_matches_and_nothing_else_pass() -> None:
    assert judge(counts(matched=50))[0] is Verdict.PASS


@pytest.mark.parametrize("columns", [{}, {"matched": 49}, {"not_sampled": 500, "matched": 3}])
def test_too_small_a_sample_is_inconclusive_never_a_pass(columns: dict[str, int]) -> None:
    assert judge(counts(**columns))[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("column", ["mismatched", "unpaired", "unexpected"])
def test_one_of_these_fails_a_sweep_of_any_size(column: str) -> None:
    verdict, reasons = judge(counts(matched=100_000, **{column: 1}))
    assert verdict is Verdict.FAIL
    assert reasons[0].startswith("1 evaluation ")


def test_nondeterministic_ones_alone_do_not_fail_a_sweep() -> None:
    assert judge(counts(matched=50, nondeterministic=9))[0] is Verdict.PASS


def test_missed_expectations_can_be_ignored_but_mismatches_cannot() -> None:
    assert judge(counts(matched=60, unexpected=3), ignore_expectations=True)[0] is Verdict.PASS
    assert judge(counts(matched=60, mismatched=1), ignore_expectations=True)[0] is Verdict.FAIL


def test_books_that_do_not_add_up_get_no_verdict() -> None:
    with pytest.raises(LedgerImbalance, match="10 submitted, 9 accounted for"):
        judge(Counts(submitted=10, matched=9))


@given(st.lists(st.sampled_from(Classification)))
def test_the_ledger_adds_up_whatever_is_settled(classifications: list[Classification]) -> None:
    ledger = Counts().with_submitted(len(classifications))
    for classification in classifications:
        assert not ledger.balanced
        ledger = ledger.with_settled(classification)
    assert ledger.balanced


@given(st.integers(1, 5000))
def test_without_a_case_the_bound_is_the_closed_form(trials: int) -> None:
    assert rate_upper_bound(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials))


@pytest.mark.parametrize(
    ("cases", "trials", "bound"), [(1, 10, 0.3942), (5, 100, 0.1023), (3, 1000, 0.007735), (10, 10, 1.0)]
)
def test_the_bound_agrees_with_published_tables(cases: int, trials: int, bound: float) -> None:
    assert rate_upper_bound(cases, trials) == pytest.approx(bound, rel=1e-3)


@given(st.integers(0, 40), st.integers(1, 400))
def test_more_cases_raise_the_bound_and_it_is_never_below_the_rate(cases: int, more: int) -> None:
    trials = cases + more
    bound, higher = rate_upper_bound(cases, trials), rate_upper_bound(min(cases + 1, trials), trials)
    assert bound is not None
    assert higher is not None
    assert cases / trials <= bound <= higher <= 1


def test_an_unpaired_evaluation_counts_as_a_mismatch_in_the_bound() -> None:
    assert mismatch_rate_upper(counts(matched=99, unpaired=1)) == mismatch_rate_upper(
        counts(matched=99, mismatched=1)
    )


def test_there_is_no_bound_without_a_comparison() -> None:
    assert mismatch_rate_upper(counts(not_sampled=5, nondeterministic=2)) is None
