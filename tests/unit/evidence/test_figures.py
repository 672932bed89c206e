"""The figures in docs/decisions/0007-evidence.md, computed exactly: all that can happen, summed."""

import math
from collections.abc import Callable, Iterator

import pytest

from crucible.evidence import Detector, Question, evidence, rank_bounds
from crucible.evidence.latency import _log_ratio
from crucible.verdict import rate_upper_bound

P0, ALPHA = 0.01, 0.05
Rate = Callable[[int], float]


def fewest_pairs(is_go: Callable[[int, int], bool], most: int) -> Iterator[int]:
    """For 0, 1, 2 ... mismatches the fewest pairs that are a GO, while ``most`` are enough."""
    mismatches = 0
    low = 0
    while is_go(most, mismatches):
        high = most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_go(middle, mismatches) else (middle, high)
        yield high
        mismatches, low = mismatches + 1, max(high - 1, mismatches)


def chance_of_go(
    fewest: list[int], most: int, *, every: int = 1, least: int = 1, rate: Rate = lambda _: P0
) -> float:
    """The chance of a GO at any look, where looks are ``every`` so many pairs from ``least`` on.

    ``without[s]`` is the chance of s mismatches so far and no GO yet; what is a GO now leaves for ever.
    """
    without, go = [1.0], 0.0
    for pairs in range(1, most + 1):
        wrong = rate(pairs)
        stay = [chance * (1 - wrong) for chance in (*without, 0.0)]
        without = [here + before * wrong for here, before in zip(stay, (0.0, *without), strict=True)]
        if pairs % every or pairs < least:
            continue
        for mismatches, enough in enumerate(fewest[: len(without)]):
            if pairs >= enough:
                go += without[mismatches]
                without[mismatches] = 0.0
        while len(without) > 1 and without[-1] < 1e-18:
            without.pop()
    return go


def by_e_process(pairs: int, mismatches: int) -> bool:
    return evidence(pairs, mismatches, Question(P0, ALPHA)).go


def by_peeked_bound(pairs: int, mismatches: int) -> bool:
    bound = rate_upper_bound(mismatches, pairs, 1 - ALPHA)
    return bound is not None and bound < P0


@pytest.mark.parametrize(("most", "expected"), [(4_000, 0.0497), (10_000, 0.0498), (30_000, 0.0498)])
def test_the_e_process_says_go_wrongly_in_less_than_alpha_however_long_one_looks(
    most: int, expected: float
) -> None:
    chance = chance_of_go(list(fewest_pairs(by_e_process, most)), most)
    assert chance < ALPHA
    assert chance == pytest.approx(expected, abs=0.0001)


def test_nor_where_the_rate_comes_and_goes_around_the_same_mean() -> None:
    def waves(pairs: int) -> float:
        return 2 * P0 if pairs % 200 < 100 else 0.0

    assert chance_of_go(list(fewest_pairs(by_e_process, 10_000)), 10_000, rate=waves) < ALPHA


def test_the_bound_of_one_look_is_wrong_far_more_often_when_peeked() -> None:
    fewest = list(fewest_pairs(by_peeked_bound, 10_000))
    assert chance_of_go(fewest, 5_000, every=25) == pytest.approx(0.225, abs=0.001)
    assert chance_of_go(fewest, 10_000) == pytest.approx(0.276, abs=0.001)


def test_a_threshold_on_the_rate_seen_is_nearly_always_wrong() -> None:
    fewest = [max(1, 100 * mismatches + 1) for mismatches in range(101)]
    assert chance_of_go(fewest, 5_000, every=25, least=100) == pytest.approx(0.940, abs=0.001)
    assert chance_of_go(fewest, 10_000, least=50) == pytest.approx(0.975, abs=0.001)


@pytest.mark.parametrize(("p0", "pairs"), [(0.01, 984), (0.001, 12_417), (0.0001, 149_072)])
def test_a_uniform_mixture_would_take_three_times_the_pairs(p0: float, pairs: int) -> None:
    """Without mismatches its wealth is B(1, n + 1) / (1 - p0)^n = 1 / ((n + 1) (1 - p0)^n)."""

    def log_wealth(clean: int) -> float:
        return -math.log(clean + 1) - clean * math.log1p(-p0)

    assert log_wealth(pairs) >= -math.log(ALPHA) > log_wealth(pairs - 1)


@pytest.mark.parametrize(
    ("pairs", "first", "last"), [(500, 458, 489), (2_000, 1_865, 1_931), (10_000, 9_420, 9_576)]
)
def test_the_ranks_of_the_95th_percentile(pairs: int, first: int, last: int) -> None:
    """The lower is the first number of times below the percentile that is not refuted; that before it is."""
    found = rank_bounds(pairs)
    assert (found.lower, found.upper) == (first, last)
    refuted = [
        _log_ratio(rank, pairs, 0.95) >= math.log(2 / ALPHA) for rank in (first - 1, first, last - 1, last)
    ]
    assert refuted == [True, False, False, True]


def test_ranks_of_two_legs_are_wrong_in_less_than_alpha_at_all_looks_together() -> None:
    """One leg: the chance that the true count is ever refuted, for which half of alpha is allowed."""
    most, quantile = 600, 0.95
    without, wrong = {0: 1.0}, 0.0
    for pairs in range(1, most + 1):
        found: dict[int, float] = {}
        for below, chance in without.items():
            found[below + 1] = found.get(below + 1, 0.0) + chance * quantile
            found[below] = found.get(below, 0.0) + chance * (1 - quantile)
        without = {}
        for below, chance in found.items():
            if _log_ratio(below, pairs, quantile) >= math.log(2 / ALPHA):
                wrong += chance
            else:
                without[below] = chance
    assert 0 < wrong < ALPHA / 2


def test_four_mismatches_among_466_pairs_turn_back_and_so_do_three_in_a_row() -> None:
    def after(*gaps: int) -> Detector:
        state = Detector().after(mismatch=True)
        for gap in gaps:
            state = state.after_matches(gap).after(mismatch=True)
        return state

    assert after(0, 0).alarmed
    assert not after(0, 1).alarmed
    for gaps in ((154, 154, 154), (300, 100, 62), (0, 1, 461)):
        first, *others = gaps
        assert after(*gaps).alarmed
        assert not after(first + 1, *others).alarmed


def flagged(pairs: int, *, mismatch: float, noise: float) -> float:
    """How often a field is flagged by: more than noise, by 20 % of the sum and 0.03 % of all."""

    def chances(rate: float) -> list[float]:
        if rate == 0:
            return [1.0]
        most = int(pairs * rate + 12 * math.sqrt(pairs * rate) + 12)
        odds = math.log(rate) - math.log1p(-rate)
        logs = [
            math.lgamma(pairs + 1) - math.lgamma(k + 1) - math.lgamma(pairs - k + 1) + k * odds
            for k in range(most)
        ]
        return [math.exp(each + pairs * math.log1p(-rate)) for each in logs]

    return sum(
        raw * other
        for differences, raw in enumerate(chances(mismatch))
        for noisy, other in enumerate(chances(noise)[:differences])
        if (differences - noisy) / pairs > 0.0003 and (differences - noisy) / (differences + noisy) > 0.2
    )


@pytest.mark.parametrize(("pairs", "share"), [(200, 0.333), (1_000, 0.250), (10_000, 0.022)])
def test_thresholds_without_confidence_flag_what_is_identical(pairs: int, share: float) -> None:
    assert flagged(pairs, mismatch=0.005, noise=0.005) == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(("pairs", "share"), [(10_000, 0.143), (100_000, 0.0135)])
def test_thresholds_without_confidence_lose_a_difference_as_traffic_grows(pairs: int, share: float) -> None:
    assert flagged(pairs, mismatch=0.0002, noise=0) == pytest.approx(share, abs=0.0005)
