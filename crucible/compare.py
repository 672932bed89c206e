"""The comparison of two observations, byte for byte, but for what rules overlook. Pure and symmetric.

Faults are planted in copies of what was observed, to see that the comparison still notices. Each fault is the
smallest of its kind. None can be hidden by a rule: rules change streams alone and keep the number of their
words and line feeds (``crucible.normalise``); each fault in a stream changes one of the two.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Any

from crucible.models import (
    Classification,
    Comparison,
    Difference,
    Evaluation,
    Field,
    Leg,
    Observation,
    Outcome,
)
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


_WHITE = (b" ", b"\t", b"\n", b"\r", b"\v", b"\f")
_TIMEOUTS = frozenset({Outcome.CPU_LIMIT, Outcome.WALL_LIMIT, Outcome.QUEUE_TIMEOUT})
_DRAWS = 1 << 64


class MutantKind(StrEnum):
    """What is wrong with a mutant. ``duplicate`` is a fault of delivery: the same observation once more."""

    EXIT_CODE_UP = "exit_code_up"
    EXIT_CODE_DOWN = "exit_code_down"
    DROPPED_LAST_NEWLINE = "dropped_last_newline"
    TRUNCATED_OUTPUT = "truncated_output"
    SWAPPED_STREAMS = "swapped_streams"
    TIMEOUT_TO_SUCCESS = "timeout_to_success"
    SUCCESS_TO_TIMEOUT = "success_to_timeout"
    DUPLICATE = "duplicate"


def mutant_for(
    seed: str, evaluation_id: str, observation: Observation, rate: float
) -> tuple[MutantKind, Observation] | None:
    """The mutant that goes with a pair, for ``rate`` of all pairs, each kind that can be planted as likely.

    The same arguments draw the same mutant in every process.
    """
    own = f"{seed}\0{evaluation_id}"
    if _draw(own, "whether") >= rate * _DRAWS:
        return None
    kinds = applicable(observation)
    kind = kinds[_draw(own, "kind") % len(kinds)]
    mutated = mutate(kind, own, observation)
    return None if mutated is None else (kind, mutated)


def applicable(observation: Observation) -> tuple[MutantKind, ...]:
    """The kinds that can be planted in ``observation``; ``duplicate`` always can."""
    return tuple(kind for kind in MutantKind if mutate(kind, "", observation) is not None)


def mutate(kind: MutantKind, seed: str, observation: Observation) -> Observation | None:
    """``observation`` with the fault ``kind`` in it, or null where it has nothing to be wrong with.

    ``seed`` decides where output is cut off. A ``duplicate`` is ``observation`` itself.
    """
    mutated: Observation | None
    match kind:
        case MutantKind.EXIT_CODE_UP:
            mutated = _with_exit_code(observation, 1)
        case MutantKind.EXIT_CODE_DOWN:
            mutated = _with_exit_code(observation, -1)
        case MutantKind.DROPPED_LAST_NEWLINE:
            mutated = _with_stream(observation, _without_last_newline)
        case MutantKind.TRUNCATED_OUTPUT:
            mutated = _with_stream(observation, lambda stream: _cut_off(stream, seed))
        case MutantKind.SWAPPED_STREAMS:
            mutated = _with_swapped_streams(observation)
        case MutantKind.TIMEOUT_TO_SUCCESS:
            mutated = _as_success(observation)
        case MutantKind.SUCCESS_TO_TIMEOUT:
            mutated = _as_timeout(observation)
        case MutantKind.DUPLICATE:
            mutated = observation
    return mutated


def is_caught(
    kind: MutantKind,
    evaluation: Evaluation,
    legacy: Observation,
    mutated: Observation,
    rules: RuleSet = NO_RULES,
) -> bool:
    """Whether the comparison under ``rules`` says that ``mutated`` is not what legacy saw.

    Raises ``ValueError`` for a ``duplicate``: not the comparison catches that, but the store, which counts no
    evaluation twice.
    """
    if kind is MutantKind.DUPLICATE:
        raise ValueError("a duplicate is no difference; the store refuses to settle an evaluation twice")
    found = compare(evaluation.id, evaluation, legacy, mutated, rules=rules)
    return found.classification is Classification.MISMATCH


def _draw(own: str, purpose: str) -> int:
    """A number from 0 to ``_DRAWS`` - 1."""
    return int.from_bytes(sha256(f"{own}\0{purpose}".encode(errors="surrogatepass")).digest()[:8])


def _with_exit_code(seen: Observation, step: int) -> Observation | None:
    if seen.exit_code is None:
        return None
    return _copy(seen, exit_code=(seen.exit_code + step) % 256)


def _with_stream(seen: Observation, change: Callable[[bytes], bytes | None]) -> Observation | None:
    """``seen`` with standard output changed, else standard error, if one of the two can be."""
    for key, stream in (("stdout_b64", seen.stdout), ("stderr_b64", seen.stderr)):
        changed = change(stream)
        if changed is not None:
            return _copy(seen, **{key: b64encode(changed).decode()})
    return None


def _without_last_newline(stream: bytes) -> bytes | None:
    return stream[:-1] if stream.endswith(b"\n") else None


def _cut_off(stream: bytes, seed: str) -> bytes | None:
    """``stream`` without its end, from the beginning of a word on."""
    visible = stream.rstrip()
    if not visible:
        return None
    at = _draw(seed, "cut") % len(visible)
    return stream[: 1 + max(visible.rfind(white, 0, at + 1) for white in _WHITE)]


def _with_swapped_streams(seen: Observation) -> Observation | None:
    """Streams with as many words each might be equal under rules, so they are let be."""
    if len(seen.stdout.split()) == len(seen.stderr.split()):
        return None
    return _copy(
        seen,
        stdout_b64=seen.stderr_b64,
        stderr_b64=seen.stdout_b64,
        stdout_truncated=seen.stderr_truncated,
        stderr_truncated=seen.stdout_truncated,
    )


def _as_success(seen: Observation) -> Observation | None:
    if seen.outcome not in _TIMEOUTS:
        return None
    return _copy(seen, outcome=Outcome.OK, exit_code=0, signal=None)


def _as_timeout(seen: Observation) -> Observation | None:
    if seen.outcome is not Outcome.OK:
        return None
    return _copy(seen, outcome=Outcome.WALL_LIMIT, exit_code=None, signal="SIGKILL")


def _copy(seen: Observation, **changes: Any) -> Observation:
    """Made anew: a model's own copy would take decoded streams along."""
    return Observation(**{**seen.model_dump(), **changes})
