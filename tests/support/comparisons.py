"""Comparisons made from what each leg said."""

from base64 import b64encode

from crucible.compare import compare
from crucible.ids import new_evaluation_id
from crucible.models import Comparison, Evaluation, Observation, Outcome


def seen(
    stdout: str | bytes = "",
    stderr: str | bytes = "",
    outcome: Outcome = Outcome.OK,
    exit_code: int | None = 0,
    signal: str | None = None,
) -> Observation:
    """An observation of a program that ended well, unless told otherwise."""
    out, err = (each.encode() if isinstance(each, str) else each for each in (stdout, stderr))
    return Observation(
        outcome=outcome,
        exit_code=exit_code,
        signal=signal,
        stdout_b64=b64encode(out).decode(),
        stderr_b64=b64encode(err).decode(),
    )


def differ(
    legacy: Observation | str | bytes, celery: Observation | str | bytes, language: str = "python"
) -> Comparison:
    """The comparison of what the legs saw; a text or bytes is what one printed."""
    sides = [each if isinstance(each, Observation) else seen(each) for each in (legacy, celery)]
    return compare(new_evaluation_id(), Evaluation(id="it", language=language, code=""), *sides)
