"""Run times and slowest evaluations in bounded memory."""

from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.models.sweep import Slowest
from crucible.report.summary import KEPT, RATIO, LatencyRecorder, SlowestKeeper

run_times = st.floats(min_value=1e-3, max_value=3600)


def recorded(values: list[float]) -> LatencyRecorder:
    recorder = LatencyRecorder()
    for value in values:
        recorder.add(value)
    return recorder


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1))
def test_the_bins_add_up_to_the_count_and_end_at_the_longest(values: list[float]) -> None:
    summary = recorded(values).summary()
    assert sum(number for _, number in summary.histogram) == summary.count == len(values)
    assert summary.histogram[-1][0] == summary.max_s == max(values)
    bounds = [bound for bound, _ in summary.histogram]
    assert bounds == sorted(set(bounds))


@given(st.lists(run_times, min_size=1))
def test_quantiles_are_never_too_low_and_at_most_one_bin_too_high(values: list[float]) -> None:
    summary = recorded(values).summary()
    for share, given_s in ((0.5, summary.p50_s), (0.95, summary.p95_s), (0.99, summary.p99_s)):
        exact = sorted(values)[ceil(share * len(values)) - 1]
        assert exact <= given_s <= exact * RATIO * (1 + 1e-9)


@given(st.lists(run_times, min_size=1))
def test_every_bin_holds_what_lies_between_its_bounds(values: list[float]) -> None:
    before = 0.0
    for bound, number in recorded(values).summary().histogram:
        assert number == sum(before < value <= bound for value in values)
        before = bound


def test_a_run_exactly_on_a_bound_is_at_or_below_it() -> None:
    bound, _ = recorded([0.01, 1.0]).summary().histogram[0]
    assert recorded([bound, 1.0]).summary().histogram[0] == (bound, 1)


def test_the_histogram_does_not_grow_with_the_number_of_runs() -> None:
    many = recorded([0.0001 * 1.0003**number for number in range(60_000)]).summary()
    assert many.count == 60_000
    assert len(many.histogram) <= 8 * 27


def test_no_run_at_all_is_a_summary_of_zeros() -> None:
    summary = LatencyRecorder().summary()
    assert (summary.count, summary.p99_s, summary.histogram) == (0, 0.0, ())


@pytest.mark.parametrize("value", [-0.1, inf, nan])
def test_what_is_no_length_of_time_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a run cannot have taken"):
        LatencyRecorder().add(value)


@given(st.lists(st.tuples(run_times, run_times), max_size=60))
def test_the_ten_with_the_slower_leg_longest_are_kept(times: list[tuple[float, float]]) -> None:
    keeper = SlowestKeeper()
    for number, (legacy, celery) in enumerate(times):
        keeper.add(Slowest(name=str(number), language="c", legacy_s=legacy, celery_s=celery))
    expected = sorted((max(pair) for pair in times), reverse=True)[:KEPT]
    assert [max(slow.legacy_s, slow.celery_s) for slow in keeper.slowest()] == expected


def test_of_equally_slow_ones_the_first_stay_in_order() -> None:
    keeper = SlowestKeeper()
    for number in range(KEPT + 5):
        keeper.add(Slowest(name=str(number), language="c", legacy_s=1, celery_s=1))
    assert [slow.name for slow in keeper.slowest()] == [str(number) for number in range(KEPT)]
