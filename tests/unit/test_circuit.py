"""The rules by which a dependency is left alone, in any order of events."""

from hypothesis import given
from hypothesis import strategies as st

from crucible.settings import BreakerSettings
from tasks.resilience.circuit import SLOTS, Circuit

RULES = BreakerSettings(ratio=0.5, minimum=10, window_s=10, open_s=5, longest_open_s=60, probe_s=10)
SLOT_MS = 10_000 // SLOTS
PASSED_MS = st.integers(0, 15_000)
OUTCOMES = st.tuples(st.integers(0, 6), st.integers(0, 6))
JITTER = st.floats(0.8, 1.0)
STEPS = st.lists(st.tuples(PASSED_MS, OUTCOMES, JITTER), max_size=60)


@given(STEPS)
def test_it_opens_only_at_the_ratio_and_volume_of_one_window(steps: list) -> None:
    circuit, now_ms, seen = Circuit(), 0, []
    for passed_ms, (successes, failures), jitter in steps:
        now_ms += passed_ms
        seen.append((now_ms, successes, failures))
        if circuit.record(now_ms, RULES, "", successes, failures, jitter) == "opened":
            # The window moves by whole slots.
            recent = [each for each in seen if each[0] // SLOT_MS > now_ms // SLOT_MS - SLOTS]
            bad, volume = sum(each[2] for each in recent), sum(each[1] + each[2] for each in recent)
            assert volume >= RULES.minimum
            assert bad >= RULES.ratio * volume
            return


@given(STEPS)
def test_while_it_is_not_closed_one_probe_at_most_is_under_way(steps: list) -> None:
    circuit, now_ms, under_way = Circuit(), 0, {}
    circuit.record(0, RULES, "", 0, RULES.minimum, 1.0)
    for number, (passed_ms, (successes, failures), jitter) in enumerate(steps):
        now_ms += passed_ms
        token = f"probe-{number}"
        verdict = circuit.allow(now_ms, RULES, token)
        if verdict.kind == "probe":
            assert [until for until in under_way.values() if until > now_ms] == []
            under_way = {token: now_ms + 10_000}
        elif verdict.kind == "pass":
            return
        if under_way and successes:
            name, _ = under_way.popitem()
            circuit.record(now_ms, RULES, name, 0, failures, jitter)


@given(STEPS)
def test_its_text_is_all_of_it(steps: list) -> None:
    circuit, now_ms = Circuit(), 0
    for number, (passed_ms, (successes, failures), jitter) in enumerate(steps):
        now_ms += passed_ms
        token = str(number) if circuit.allow(now_ms, RULES, str(number)).kind == "probe" else ""
        circuit.record(now_ms, RULES, token, successes, failures, jitter)
        assert Circuit.read(circuit.write()) == circuit
        assert len(circuit.window) <= SLOTS
    assert Circuit.read(b"") == Circuit()


@given(STEPS)
def test_whatever_happened_it_lets_a_call_through_in_bounded_time(steps: list) -> None:
    circuit, now_ms = Circuit(), 0
    for number, (passed_ms, (successes, failures), jitter) in enumerate(steps):
        now_ms += passed_ms
        verdict = circuit.allow(now_ms, RULES, str(number))
        token = str(number) if verdict.kind == "probe" else ""
        circuit.record(now_ms, RULES, token, successes if not token else 0, failures, jitter)
    now_ms += 70_000
    assert circuit.allow(now_ms, RULES, "last").kind != "wait"


def test_it_stays_open_twice_as_long_each_time_that_a_probe_fails() -> None:
    circuit, now_ms, waits = Circuit(), 0, []
    circuit.record(now_ms, RULES, "", 0, 10, 1.0)
    for number in range(6):
        waits.append(circuit.allow(now_ms, RULES, "").wait_ms)
        now_ms += waits[-1]
        assert circuit.allow(now_ms, RULES, str(number)).kind == "probe"
        circuit.record(now_ms, RULES, str(number), 0, 1, 1.0)
    assert waits == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_after_a_probe_that_succeeds_it_counts_from_the_beginning() -> None:
    circuit = Circuit()
    circuit.record(0, RULES, "", 0, 10, 1.0)
    circuit.allow(5_000, RULES, "probe")
    assert circuit.record(5_000, RULES, "probe", 1, 0, 1.0) == "closed"
    assert circuit.record(5_000, RULES, "", 0, 9, 1.0) == ""
    assert circuit.record(5_000, RULES, "", 0, 1, 1.0) == "opened"
    assert circuit.allow(5_000, RULES, "").wait_ms == 5_000


def test_calls_that_began_before_it_opened_neither_close_it_nor_keep_it_open() -> None:
    circuit = Circuit()
    circuit.record(0, RULES, "", 0, 10, 1.0)
    assert circuit.record(1, RULES, "", 50, 50, 1.0) == "open"
    assert circuit.allow(5_000, RULES, "probe").kind == "probe"
    assert circuit.record(5_001, RULES, "", 50, 0, 1.0) == "open"
    assert circuit.allow(5_002, RULES, "second").kind == "wait"


def test_a_probe_that_lost_its_place_decides_nothing() -> None:
    circuit = Circuit()
    circuit.record(0, RULES, "", 0, 10, 1.0)
    circuit.allow(5_000, RULES, "slow")
    assert circuit.allow(15_000, RULES, "second").kind == "probe"
    assert circuit.record(15_001, RULES, "slow", 1, 0, 1.0) == "open"
    assert circuit.record(15_002, RULES, "second", 1, 0, 1.0) == "closed"
