"""The comparison of two observations, byte for byte. Pure and symmetric."""

from crucible.models import Classification, Comparison, Difference, Evaluation, Field, Leg, Observation


def answer(observation: Observation) -> tuple[str, int | None, str | None, str, str]:
    """The five compared fields; two observations agree exactly when their answers are equal."""
    return (
        observation.outcome.value,
        observation.exit_code,
        observation.signal,
        observation.stdout_b64,
        observation.stderr_b64,
    )


def differences(legacy: Observation, celery: Observation) -> tuple[Difference, ...]:
    """One difference for each compared field on which the two disagree, in reading order."""
    return tuple(
        Difference(field=field, legacy=_text(left), celery=_text(right))
        for field, left, right in zip(Field, answer(legacy), answer(celery), strict=True)
        if left != right
    )


def compare(
    evaluation_id: str,
    evaluation: Evaluation,
    legacy: Observation | None,
    celery: Observation | None,
    reasons: dict[Leg, str] | None = None,
    flow_run_id: str | None = None,
) -> Comparison:
    """Lay two observations side by side; a missing side makes the evaluation ``unpaired``."""
    found: tuple[Difference, ...] = ()
    if legacy is None or celery is None:
        classification = Classification.UNPAIRED
    else:
        found = differences(legacy, celery)
        classification = Classification.MISMATCH if found else Classification.MATCH
    matched = classification is Classification.MATCH and legacy is not None
    return Comparison(
        evaluation_id=evaluation_id,
        name=evaluation.id,
        language=evaluation.language,
        classification=classification,
        differences=found,
        legacy=legacy,
        celery=celery,
        missed_expectations=missed_expectations(evaluation, legacy) if matched and legacy else (),
        reasons=reasons or {},
        flow_run_ids=(flow_run_id,) if flow_run_id else (),
    )


def missed_expectations(evaluation: Evaluation, seen: Observation) -> tuple[str, ...]:
    """A sentence for each of the author's assertions that ``seen`` does not meet.

    Standard output is not held against the author's where the program is declared to vary.
    """
    expect = evaluation.expect
    missed = []
    if expect.outcome is not None and seen.outcome not in expect.outcome:
        missed.append(f"outcome is {seen.outcome}, expected {' or '.join(expect.outcome)}")
    if expect.exit_code is not None and seen.exit_code != expect.exit_code:
        missed.append(f"exit_code is {_text(seen.exit_code)}, expected {expect.exit_code}")
    if expect.signal is not None and seen.signal != expect.signal:
        missed.append(f"signal is {_text(seen.signal)}, expected {expect.signal}")
    if expect.stdout is not None and seen.stdout != expect.stdout.encode():
        missed.append(f"stdout is {_excerpt(seen.stdout)}, expected {_excerpt(expect.stdout.encode())}")
    return tuple(missed)


def _text(value: str | int | None) -> str:
    return "none" if value is None else str(value)


def _excerpt(data: bytes, length: int = 60) -> str:
    shown = repr(data[:length])[1:]
    return shown if len(data) <= length else f"{shown}… ({len(data)} bytes)"
