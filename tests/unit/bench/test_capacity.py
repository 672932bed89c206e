"""The capacity model, where its answer is known without it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capacity import PARTS, SLOTS, Costs, Fleet, Load, costs_of, predict
from bench.figures import Measured
from bench.scaling import needs
from crucible.errors import PlatformError

NEXT_TO_NOTHING = 1e-6


def costs(**dear: float) -> Costs:
    """Costs of next to nothing, but for some parts, whose names have a space for ``_``."""
    named = {part.replace("_", " "): cpu_s for part, cpu_s in dear.items()}
    return Costs({part: named.get(part, NEXT_TO_NOTHING) for part in PARTS})


def test_programs_that_wait_are_as_fast_as_there_are_slots_for_them() -> None:
    for sets in (1, 3):
        found = predict(costs(), Fleet(sets), Load(240, wait_s=1.0))
        assert found.per_second == pytest.approx(sets * SLOTS["celery"], rel=0.05)
        assert found.bottleneck == "celery slots"


def test_one_dear_part_is_the_bottleneck_and_says_how_fast_it_goes() -> None:
    found = predict(costs(prefect=0.001, redis=0.01), Fleet(20), Load(2000))
    assert found.per_second == pytest.approx(100, rel=0.05)
    assert found.bottleneck == "redis"


def test_more_of_the_dear_part_are_so_much_faster() -> None:
    dear = costs(flow_host=0.01)
    one, four = (predict(dear, Fleet(20, {"flow host": number}), Load(2000)) for number in (1, 4))
    assert four.per_second == pytest.approx(4 * one.per_second, rel=0.05)


def test_cores_that_all_share_are_a_bound_of_their_own() -> None:
    dear = costs(legacy_executors=0.02, celery_executors=0.02)
    found = predict(dear, Fleet(4, cores=2), Load(400))
    assert found.per_second == pytest.approx(2 / dear.total_s, rel=0.05)
    assert found.bottleneck == "cores"


def test_what_comes_slower_than_it_is_served_waits_for_nothing() -> None:
    found = predict(costs(), Fleet(10), Load(500, wait_s=0.1, per_second=50))
    assert found.per_second == pytest.approx(50, rel=0.02)
    assert found.p95_s == pytest.approx(0.1, rel=0.02)


def test_what_comes_faster_than_it_is_served_ends_as_fast_as_the_full_part_goes() -> None:
    found = predict(costs(flow_host=0.01), Fleet(100), Load(500, wait_s=1.0, per_second=200))
    assert found.per_second == pytest.approx(100, rel=0.05)
    assert found.bottleneck == "flow host"
    assert 0.95 < found.busy["flow host"] <= 1


@settings(max_examples=20)
@given(st.floats(0.0005, 0.02), st.integers(1, 4))
def test_a_larger_fleet_is_never_slower(cpu_s: float, sets: int) -> None:
    load = Load(200, wait_s=0.05)
    small, large = (predict(costs(celery_workers=cpu_s), Fleet(each), load) for each in (sets, sets + 1))
    assert large.per_second >= 0.98 * small.per_second


def test_what_a_rate_takes_leaves_room_and_grows_with_it() -> None:
    dear = costs(redis=0.0007)
    small, large = needs(dear, 1000), needs(dear, 10_000)
    assert (small["redis"], large["redis"]) == (1, 10)
    assert all(large[part] >= small[part] for part in small)


def test_costs_are_those_of_all_services_of_a_part_for_one_evaluation() -> None:
    services = [each for named in PARTS.values() for each in named]
    found = costs_of(measured(dict.fromkeys(services, 2.0)))
    assert found.cpu_s["legacy workers"] == pytest.approx(0.04)
    assert found.total_s == pytest.approx(0.02 * len(services))


def test_a_part_of_which_nothing_was_measured_is_named() -> None:
    services = [each for named in PARTS.values() for each in named if each != "redis"]
    with pytest.raises(PlatformError, match=r"^redis: no CPU time"):
        costs_of(measured(dict.fromkeys(services, 2.0)))


def measured(cpu_s: dict[str, float]) -> Measured:
    return Measured("sweep", 100, 1.0, cpu_s, 0.0, 0.0, 0.0, 0.0)
