"""Read this first: what Crucible says of two answers, and how it counts."""

from base64 import b64encode

from crucible.compare import compare
from crucible.models import Classification, Counts, Evaluation, Observation, Outcome, Verdict
from crucible.verdict import judge, mismatch_rate_upper

PROGRAM = Evaluation(id="greeting", language="python", code="print('hello')")


def printed(text: bytes) -> Observation:
    return Observation(outcome=Outcome.OK, exit_code=0, stdout_b64=b64encode(text).decode())


def test_two_answers_match_only_byte_for_byte() -> None:
    same = compare("ev-1", PROGRAM, printed(b"hello\n"), printed(b"hello\n"))
    assert same.classification is Classification.MATCH

    without_newline = compare("ev-2", PROGRAM, printed(b"hello\n"), printed(b"hello"))
    assert without_newline.classification is Classification.MISMATCH
    assert [difference.field for difference in without_newline.differences] == ["stdout"]


def test_an_answer_that_never_came_is_no_match() -> None:
    alone = compare("ev-3", PROGRAM, printed(b"hello\n"), None, {"celery": "executor-3 is away"})
    assert alone.classification is Classification.UNPAIRED


def test_every_evaluation_ends_in_exactly_one_column() -> None:
    counts = Counts().with_submitted(3)
    for classification in (Classification.MATCH, Classification.MATCH, Classification.UNPAIRED):
        counts = counts.with_settled(classification)
    assert counts.balanced
    assert (counts.matched, counts.unpaired) == (2, 1)


def test_a_pass_needs_evidence_and_says_how_much_it_is() -> None:
    few = Counts(submitted=3, matched=3)
    assert judge(few)[0] is Verdict.INCONCLUSIVE

    many = Counts(submitted=300, matched=300)
    assert judge(many)[0] is Verdict.PASS
    bound = mismatch_rate_upper(many)
    assert bound is not None
    assert 0.0099 < bound < 0.01, "300 clean pairs do not exclude a mismatch in a hundred"
