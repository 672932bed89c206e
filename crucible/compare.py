"""The comparison of two observations, byte for byte, but for what rules overlook. Pure and symmetric."""

from base64 import b64decode, b64encode
from collections.abc import Sequence

from crucible.models import Classification, Comparison, Difference, Evaluation, Field, Leg, Observation
from crucible.normalise import NO_RULES, Rule, RuleSet, normalised

Answer = tuple[str, int | None, str | None, str, str]


def answer(observation: Observation, rules: Sequence[Rule] = ()) -> Answer:
    """The five compared fields; two observations agree exactly when their answers are equal.

    ``rules`` change streams alone, and none that was truncated: of those the end is not known.
    """
    seen = observation
    out = () if seen.stdout_truncated else [rule for rule in rules if "stdout" in rule.fields]
    err = () if seen.stderr_truncated else [rule for rule in rules if "stderr" in rule.fields]
    return (
        seen.outcome.value,
        seen.exit_code,
        seen.signal,
        _normalised(seen.stdout_b64, out),
        _normalised(seen.stderr_b64, err),
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
    rules: RuleSet = NO_RULES,
) -> Comparison:
    """Lay two observations side by side; a missing side makes the evaluation ``unpaired``.

    ``rules`` are those in force. They are looked at only where the sides differ, and the comparison names
    those that are needed to make them equal.
    """
    found: tuple[Difference, ...] = ()
    needed: tuple[str, ...] = ()
    if legacy is None or celery is None:
        classification = Classification.UNPAIRED
    else:
        found = differences(legacy, celery)
        needed = _needed(legacy, celery, rules.applied_to(evaluation.language)) if found else ()
        found = () if needed else found
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
        normalised_by=needed,
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


def _needed(legacy: Observation, celery: Observation, rules: Sequence[Rule]) -> tuple[str, ...]:
    """The names of rules that make the sides equal, and none that could be left out; nothing if none do."""
    if answer(legacy, rules) != answer(celery, rules):
        return ()
    kept = list(rules)
    for rule in rules:
        others = [each for each in kept if each is not rule]
        if answer(legacy, others) == answer(celery, others):
            kept = others
    return tuple(rule.name for rule in kept)


def _normalised(stream_b64: str, rules: Sequence[Rule]) -> str:
    return b64encode(normalised(b64decode(stream_b64), rules)).decode() if rules else stream_b64


def _text(value: str | int | None) -> str:
    return "none" if value is None else str(value)


def _excerpt(data: bytes, length: int = 60) -> str:
    shown = repr(data[:length])[1:]
    return shown if len(data) <= length else f"{shown}… ({len(data)} bytes)"
