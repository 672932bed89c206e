"""Evaluations, observations and comparisons to fill a store with."""

from base64 import b64encode
from collections.abc import Sequence

from crucible.ids import new_evaluation_ids, new_sweep_id
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
from crucible.store import Store, Submission


def evaluation(name: str = "prints/one", **changes: object) -> Evaluation:
    """A small evaluation."""
    return Evaluation.model_validate({"id": name, "language": "python", "code": "print(1)\n"} | changes)


def observation(leg: Leg, stdout: bytes = b"1\n", duration_s: float = 0.25) -> Observation:
    """A program that ended well."""
    return Observation(
        outcome=Outcome.OK,
        exit_code=0,
        stdout_b64=b64encode(stdout).decode(),
        duration_s=duration_s,
        cpu_s=0.125,
        memory_peak_mb=9.5,
        executor="executor-1" if leg == "legacy" else "executor-3",
        isolation_level="namespaces",
        leg=leg,
    )


def comparison(
    evaluation_id: str, classification: Classification = Classification.MATCH, name: str = "prints/one"
) -> Comparison:
    """What a comparison of that classification looks like; an unpaired one lacks its celery side."""
    unpaired = classification is Classification.UNPAIRED
    differs = classification is Classification.MISMATCH
    return Comparison(
        evaluation_id=evaluation_id,
        name=name,
        language="python",
        classification=classification,
        differences=(Difference(field=Field.STDOUT, legacy="MQo=", celery="Mgo="),) if differs else (),
        legacy=observation("legacy"),
        celery=None if unpaired else observation("celery", b"2\n" if differs else b"1\n", 0.5),
        reasons={"celery": "no answer in time"} if unpaired else {},
        flow_run_ids=("flow-run-1",),
    )


async def sweep_of(store: Store, names: Sequence[str]) -> tuple[str, list[str]]:
    """Begin a sweep and submit an evaluation for each name; return its id and theirs."""
    sweep_id, ids = new_sweep_id(), new_evaluation_ids(len(names))
    await store.begin_sweep(sweep_id, {"corpora": ["bundled"]})
    await store.submit(
        [
            Submission(evaluation_id, evaluation(name), sweep_id)
            for evaluation_id, name in zip(ids, names, strict=True)
        ]
    )
    return sweep_id, ids
