"""What re-runs say of a mismatch."""

from base64 import b64encode

from crucible.compare import compare
from crucible.confirm import DECLARED_RUNS, classify, confirmed, is_settled
from crucible.models import Classification, Evaluation, Expectation, Observation, Outcome

PLAIN = Evaluation(id="e", language="python", code="")
DECLARED = Evaluation(id="e", language="python", code="", expect=Expectation(deterministic=False))


def said(*texts: str) -> list[Observation]:
    return [
        Observation(outcome=Outcome.OK, exit_code=0, stdout_b64=b64encode(text.encode()).decode())
        for text in texts
    ]


def exited(*codes: int) -> list[Observation]:
    return [Observation(outcome=Outcome.NONZERO_EXIT, exit_code=code) for code in codes]


def test_two_steady_legs_with_different_answers_are_a_mismatch() -> None:
    assert classify(PLAIN, said(*"aaaa"), said(*"bbbb")) is Classification.MISMATCH


def test_legacy_disagreeing_with_itself_excuses_an_answer_that_it_gives_too() -> None:
    assert classify(PLAIN, said(*"abab"), said(*"bbab")) is Classification.NONDETERMINISTIC


def test_legacy_disagreeing_with_itself_does_not_excuse_an_answer_it_never_gives() -> None:
    assert classify(PLAIN, said(*"abab"), said(*"cbab")) is Classification.MISMATCH


def test_a_steady_legacy_and_a_varying_celery_are_a_regression() -> None:
    assert classify(PLAIN, said(*"aaaa"), said(*"baba")) is Classification.MISMATCH


def test_a_declared_program_that_varies_on_either_leg_is_nondeterministic() -> None:
    assert classify(DECLARED, said(*"abcd"), said(*"efgh")) is Classification.NONDETERMINISTIC
    assert classify(DECLARED, said(*"aaaa"), said(*"baaa")) is Classification.NONDETERMINISTIC


def test_a_declared_program_with_a_field_that_differs_and_never_varies_is_a_mismatch() -> None:
    assert classify(DECLARED, exited(1, 1, 1), exited(2, 2, 2)) is Classification.MISMATCH
    mixed = [seen.model_copy(update={"exit_code": 3}) for seen in said(*"xyz")]
    assert classify(DECLARED, said(*"abc"), mixed) is Classification.MISMATCH


def test_a_plain_mismatch_is_settled_after_the_planned_reruns_and_not_before() -> None:
    assert not is_settled(PLAIN, said(*"aaa"), said(*"bbb"), planned=3)
    assert is_settled(PLAIN, said(*"aaaa"), said(*"bbbb"), planned=3)


def test_a_declared_program_that_has_not_varied_yet_is_run_more_often() -> None:
    assert not is_settled(DECLARED, said(*"aaaa"), said(*"bbbb"), planned=3)
    assert is_settled(DECLARED, said(*"aaab"), said(*"bbbb"), planned=3)
    many = DECLARED_RUNS + 1
    assert is_settled(DECLARED, said(*"a" * many), said(*"b" * many), planned=3)


def test_the_leg_that_was_seen_less_often_decides_whether_it_was_often_enough() -> None:
    assert not is_settled(PLAIN, said(*"aaaa"), said(*"bbb"), planned=3)
    assert not is_settled(PLAIN, said(*"aaa"), said(*"bbbb"), planned=3)
    assert not is_settled(DECLARED, said(*"a" * (DECLARED_RUNS + 1)), said(*"bbbb"), planned=3)


def test_a_rerun_that_one_leg_alone_has_answered_is_counted() -> None:
    first = compare("ev", PLAIN, *said(*"ab"))
    assert confirmed(PLAIN, first, said(*"aaa"), said(*"bb")).reruns == 3


def test_confirming_counts_the_reruns_and_keeps_the_first_pair() -> None:
    first = compare("ev", PLAIN, *said(*"ab"))
    result = confirmed(PLAIN, first, said(*"bab"), said(*"aba"))
    assert result.classification is Classification.NONDETERMINISTIC
    assert result.reruns == 3
    assert (result.legacy, result.celery) == (first.legacy, first.celery)
