"""The gate over strata, the way back, noise and latency."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import InputError
from crucible.evidence import (
    Detector,
    DetectorSettings,
    Question,
    Tally,
    excess_e_value,
    gate,
    rank_bounds,
)

ASKED = Question()
QUICK = DetectorSettings(p_ok=0.01, p1=0.2, alarm_at=200)


def test_go_takes_every_stratum() -> None:
    enough, less = Tally(400, 0), Tally(300, 0)
    assert gate({"python": enough, "c": enough}, ASKED).go
    refused = gate({"python": enough, "c": less, "bash": Tally(0, 0)}, ASKED)
    assert (refused.go, refused.waiting) == (False, ("bash", "c"))


def test_no_strata_are_no_go() -> None:
    assert not gate({}, ASKED).go


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=30))
def test_matches_at_once_are_matches_one_by_one(story: list[tuple[int, bool]]) -> None:
    at_once = one_by_one = Detector(QUICK)
    for matches, mismatch in story:
        at_once = at_once.after_matches(matches)
        for _ in range(matches):
            one_by_one = one_by_one.after(mismatch=False)
        if mismatch:
            at_once, one_by_one = at_once.after(mismatch=True), one_by_one.after(mismatch=True)
    assert at_once.log_m == pytest.approx(one_by_one.log_m)


def test_a_long_success_before_does_not_make_it_slower() -> None:
    def mismatches_to_alarm(state: Detector) -> int:
        count = 0
        while not state.alarmed:
            state, count = state.after(mismatch=True), count + 1
        return count

    assert mismatches_to_alarm(Detector().after_matches(10**7)) <= mismatches_to_alarm(Detector()) + 1


def test_false_alarms_come_as_seldom_as_promised() -> None:
    chance = random.Random(7)
    lengths = []
    for _ in range(60):
        state, pairs = Detector(QUICK), 0
        while not state.alarmed:
            state, pairs = state.after(mismatch=chance.random() < QUICK.p_ok), pairs + 1
        lengths.append(pairs)
    assert sum(lengths) / len(lengths) >= QUICK.alarm_at


@pytest.mark.parametrize("wrong", [{"p_ok": 0.0}, {"p_ok": 0.5, "p1": 0.1}, {"p1": 1.0}, {"alarm_at": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        DetectorSettings(**wrong)


@pytest.mark.parametrize(("only_celery", "only_legacy"), [(7, 0), (10, 1), (12, 2), (14, 3)])
def test_excess_over_noise_shows_from_here_on(only_celery: int, only_legacy: int) -> None:
    assert excess_e_value(only_celery, only_legacy) >= 20
    assert excess_e_value(only_celery - 1, only_legacy) < 20


def test_without_differences_there_is_no_evidence_of_excess() -> None:
    assert excess_e_value(0, 0) == pytest.approx(1.0)
    assert excess_e_value(3, 3) < excess_e_value(3, 0)


@given(st.integers(0, 40), st.integers(0, 40))
def test_noise_is_worth_nothing_on_average(only_celery: int, only_legacy: int) -> None:
    """One more difference, by a fair coin, leaves the e-value where it is: a martingale."""
    here = excess_e_value(only_celery, only_legacy)
    next_one = (
        excess_e_value(only_celery + 1, only_legacy) + excess_e_value(only_celery, only_legacy + 1)
    ) / 2
    assert next_one == pytest.approx(here)


def test_counts_below_zero_are_refused() -> None:
    with pytest.raises(InputError):
        excess_e_value(-1, 0)


def test_few_times_bound_nothing() -> None:
    assert (rank_bounds(0).lower, rank_bounds(0).upper) == (None, None)
    assert rank_bounds(5).upper is None
    assert math.isclose((rank_bounds(1000).upper or 0) / 1000, 0.97, abs_tol=0.02)
