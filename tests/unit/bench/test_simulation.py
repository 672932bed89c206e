"""The simulation tells good gates from bad ones, and the same seed gives the same figures."""

import pytest

from bench.simulation import GATES, delays, false_gos


def test_only_our_gate_keeps_its_promise_under_constant_looking() -> None:
    rates = {each.gate: each.rate for each in false_gos(20_000, 10_000, seed=3)}
    # What chance should give is known exactly: tests/unit/evidence/test_figures.py. Four standard errors.
    assert rates["e-process"] == pytest.approx(0.0498, abs=4 * 0.0015)
    assert rates["Clopper-Pearson, peeked"] == pytest.approx(0.276, abs=4 * 0.0032)
    assert rates["threshold"] == pytest.approx(0.975, abs=4 * 0.0011)


def test_the_same_seed_gives_the_same_figures() -> None:
    assert false_gos(200, 1000, seed=5) == false_gos(200, 1000, seed=5) != false_gos(200, 1000, seed=6)
    assert delays(100, seed=5) == delays(100, seed=5)


def test_the_worse_the_fault_the_sooner_it_is_noticed() -> None:
    found = delays(300, seed=1)
    assert [each.median for each in found] == sorted((each.median for each in found), reverse=True)
    assert found[-1].median == 3
    assert all(each.median < each.threshold_median for each in found)


@pytest.mark.parametrize("name", GATES)
def test_a_gate_that_says_go_says_so_after_more_matches_too(name: str) -> None:
    gate = GATES[name]
    for mismatches in range(5):
        answers = [gate(pairs, mismatches) for pairs in range(max(1, mismatches), 2500, 7)]
        assert answers == sorted(answers)
