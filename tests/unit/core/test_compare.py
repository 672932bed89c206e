"""Comparison of two observations: byte for byte, symmetric, and blind to what is not compared."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.compare import answer, compare, differences, missed_expectations
from crucible.models import Classification, Evaluation, Expectation, Field, Observation, Outcome

observations = st.builds(
    Observation,
    outcome=st.sampled_from(Outcome),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.sampled_from(["SIGSEGV", "SIGKILL"]),
    stdout_b64=st.binary(max_size=6).map(lambda data: b64encode(data).decode()),
    stderr_b64=st.binary(max_size=6).map(lambda data: b64encode(data).decode()),
    duration_s=st.floats(0, 10),
    executor=st.sampled_from(["executor-1", "executor-3"]),
)


def evaluation(**expect: object) -> Evaluation:
    return Evaluation(id="e", language="python", code="", expect=Expectation.model_validate(expect))


def ok(stdout: bytes = b"", **others: object) -> Observation:
    return Observation(outcome=Outcome.OK, exit_code=0, stdout_b64=b64encode(stdout).decode(), **others)


@given(observations, observations)
def test_the_same_fields_differ_whichever_side_comes_first(left: Observation, right: Observation) -> None:
    there = {(each.field, each.legacy, each.celery) for each in differences(left, right)}
    back = {(each.field, each.celery, each.legacy) for each in differences(right, left)}
    assert there == back


@given(observations)
def test_an_observation_equals_itself(seen: Observation) -> None:
    assert differences(seen, seen) == ()


@given(observations, observations)
def test_there_is_a_difference_exactly_when_the_answers_are_unequal(
    left: Observation, right: Observation
) -> None:
    assert bool(differences(left, right)) == (answer(left) != answer(right))


def test_times_memory_and_executor_are_not_compared() -> None:
    left = ok(duration_s=1, executor="executor-1", memory_peak_mb=5)
    right = ok(duration_s=9, executor="executor-3", memory_peak_mb=50)
    assert compare("ev", evaluation(), left, right).classification is Classification.MATCH


@pytest.mark.parametrize(
    ("left", "right"),
    [(b"a\n", b"a"), (b"a\r\n", b"a\n"), (b"", b"\0"), (b"\xff", b"\xfe"), (b"e\xcc\x81", b"\xc3\xa9")],
)
def test_one_byte_is_a_mismatch(left: bytes, right: bytes) -> None:
    found = compare("ev", evaluation(), ok(left), ok(right))
    assert found.classification is Classification.MISMATCH
    assert [each.field for each in found.differences] == [Field.STDOUT]


def test_a_signal_and_the_exit_code_that_looks_like_it_differ() -> None:
    killed = Observation(outcome=Outcome.SIGNALLED, signal="SIGKILL")
    exited = Observation(outcome=Outcome.NONZERO_EXIT, exit_code=137)
    assert {each.field for each in differences(killed, exited)} == {
        Field.OUTCOME,
        Field.EXIT_CODE,
        Field.SIGNAL,
    }


@pytest.mark.parametrize("missing", ["legacy", "celery", "both"])
def test_a_missing_side_is_unpaired_and_keeps_its_reason(missing: str) -> None:
    legacy = None if missing in ("legacy", "both") else ok()
    celery = None if missing in ("celery", "both") else ok()
    found = compare("ev", evaluation(), legacy, celery, {"celery": "executor-3 is away"})
    assert found.classification is Classification.UNPAIRED
    assert found.reasons == {"celery": "executor-3 is away"}


def test_legs_that_agree_and_miss_the_expectation_are_a_match_with_a_remark() -> None:
    found = compare("ev", evaluation(stdout="right\n", exit_code=0), ok(b"wrong\n"), ok(b"wrong\n"))
    assert found.classification is Classification.MATCH
    assert found.unexpected
    assert len(found.missed_expectations) == 1


def test_a_mismatch_carries_no_remark_on_expectations() -> None:
    found = compare("ev", evaluation(stdout="a"), ok(b"b"), ok(b"c"))
    assert not found.unexpected


@pytest.mark.parametrize(
    ("expect", "missed"),
    [
        ({"outcome": "ok"}, 0),
        ({"outcome": ["cpu_limit", "ok"]}, 0),
        ({"outcome": "nonzero_exit"}, 1),
        ({"exit_code": 1, "signal": "SIGSEGV", "stdout": "x"}, 3),
        ({"exit_code": None, "signal": None, "stdout": None, "outcome": None}, 0),
    ],
)
def test_each_assertion_that_is_not_met_is_one_sentence(expect: dict[str, object], missed: int) -> None:
    assert len(missed_expectations(evaluation(**expect), ok())) == missed
