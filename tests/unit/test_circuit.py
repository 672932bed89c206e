"""The rules by which a dependency is left alone, in any order of events."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.resilience.circuit import SLOTS, Circuit, Rules

RULES = Rules(ratio=0.5, minimum=10, window_ms=10_000, open_ms=5_000, longest_open_ms=60_000, probe_ms=10_000)
SLOT_MS = RULES.window_ms // SLOTS
PASSED_MS = st.integers(0, 15_000)
OUTCOMES = st.tuples(st.integers(0, 6), st.integers(0, 6))
JITTER = st.floats(0.8, 1.0)
STEPS = st.lists(st.tuples(PASSED_MS, OUTCOMES, JITTER), max_size=60)


@given(STEPS)
def test_it_opens_only_at_the_ratio_and_volume_of_one_window(steps: list) -> None:
    circuit, now_ms, seen = Circuit(RULES), 0, []
    for passed_ms, (successes, failures), jitter in steps:
        now_ms += passed_ms
        seen.append((now_ms, successes, failures))
        if circuit.record(now_ms, "", successes, failures, jitter) == "opened":
            # The window moves by whole slots.
            recent = [each for each in seen if each[0] // SLOT_MS > now_ms // SLOT_MS - SLOTS]
            bad, volume = sum(each[2] for each in recent), sum(each[1] + each[2] for each in recent)
            assert volume >= RULES.minimum
            assert bad >= RULES.ratio * volume
            return


@given(STEPS)
def test_while_it_is_not_closed_one_probe_at_most_is_under_way(steps: list) -> None:
    circuit, now_ms, under_way = Circuit(RULES), 0, {}
    circuit.record(0, "", 0, RULES.minimum, 1.0)
    for number, (passed_ms, (successes, failures), jitter) in enumerate(steps):
        now_ms += passed_ms
        token = f"probe-{number}"
        verdict = circuit.allow(now_ms, token)
        if verdict.kind == "probe":
            assert [until for until in under_way.values() if until > now_ms] == []
            under_way = {token: now_ms + RULES.probe_ms}
        elif verdict.kind == "pass":
            return
        if under_way and successes:
            name, _ = under_way.popitem()
            circuit.record(now_ms, name, 0, failures, jitter)


@given(STEPS)
def test_whatever_happened_it_lets_a_call_through_in_bounded_time(steps: list) -> None:
    circuit, now_ms = Circuit(RULES), 0
    for number, (passed_ms, (successes, failures), jitter) in enumerate(steps):
        now_ms += passed_ms
        verdict = circuit.allow(now_ms, str(number))
        token = str(number) if verdict.kind == "probe" else ""
        circuit.record(now_ms, token, successes if not token else 0, failures, jitter)
    now_ms += RULES.longest_open_ms + RULES.probe_ms
    assert circuit.allow(now_ms, "last").kind != "wait"


def test_it_stays_open_twice_as_long_each_time_that_a_probe_fails() -> None:
    circuit, now_ms, waits = Circuit(RULES), 0, []
    circuit.record(now_ms, "", 0, 10, 1.0)
    for number in range(6):
        waits.append(circuit.allow(now_ms, "").wait_ms)
        now_ms += waits[-1]
        assert circuit.allow(now_ms, str(number)).kind == "probe"
        circuit.record(now_ms, str(number), 0, 1, 1.0)
    assert waits == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_after_a_probe_that_succeeds_it_counts_from_the_beginning() -> None:
    circuit = Circuit(RULES)
    circuit.record(0, "", 0, 10, 1.0)
    circuit.allow(5_000, "probe")
    assert circuit.record(5_000, "probe", 1, 0, 1.0) == "closed"
    assert circuit.record(5_000, "", 0, 9, 1.0) == ""
    assert circuit.record(5_000, "", 0, 1, 1.0) == "opened"
    assert circuit.allow(5_000, "").wait_ms == 5_000


def test_calls_that_began_before_it_opened_neither_close_it_nor_keep_it_open() -> None:
    circuit = Circuit(RULES)
    circuit.record(0, "", 0, 10, 1.0)
    assert circuit.record(1, "", 50, 50, 1.0) == "open"
    assert circuit.allow(5_000, "probe").kind == "probe"
    assert circuit.record(5_001, "", 50, 0, 1.0) == "open"
    assert circuit.allow(5_002, "second").kind == "wait"


def test_a_probe_that_lost_its_place_decides_nothing() -> None:
    circuit = Circuit(RULES)
    circuit.record(0, "", 0, 10, 1.0)
    circuit.allow(5_000, "slow")
    assert circuit.allow(15_000, "second").kind == "probe"
    assert circuit.record(15_001, "slow", 1, 0, 1.0) == "open"
    assert circuit.record(15_002, "second", 1, 0, 1.0) == "closed"
