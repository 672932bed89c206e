"""Faults planted in copies of what was observed, to see that the comparison still notices. Pure and seeded.

Each fault is the smallest of its kind. None can be hidden by a rule: rules change streams alone and keep the
number of their words and line feeds (``crucible.normalise``); each fault in a stream changes one of the two.
"""

from base64 import b64encode
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Any

from crucible.compare import compare
from crucible.models import Classification, Evaluation, Observation, Outcome
from crucible.normalise import NO_RULES, RuleSet

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
