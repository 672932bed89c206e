"""Values to rows and back. Only observations repeat in their JSON what columns beside it say."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError
from sqlalchemy import Row

from crucible.errors import StoreError
from crucible.models import LEGS, Comparison, Evaluation, Leg, Observation
from crucible.rollout.stage import Route
from crucible.store.entries import LedgerRow, Submission, Work

T = TypeVar("T")
Values = dict[str, Any]

_COMPARISON_KEYS = {
    "differences",
    "missed_expectations",
    "reasons",
    "flow_run_ids",
    "normalised_by",
    "answered_by",
}


def submission_values(
    submission: Submission, route: Route | None, now: datetime, owner: str | None
) -> Values:
    """The ledger row of a new submission; ``route`` is null for what is no traffic."""
    evaluation = submission.evaluation
    settled = submission.classification is not None
    return {
        "id": submission.id,
        "sweep_id": submission.sweep_id,
        "name": evaluation.id,
        "language": evaluation.language,
        "payload": evaluation.model_dump_json(exclude_defaults=True),
        "submitted_at": now,
        "settled_at": now if settled else None,
        "classification": submission.classification,
        "unexpected": False,
        "comparison": "{}" if settled else None,
        "reruns": 0,
        "route": None if route is None else route.model_dump_json(),
        "epoch": None if route is None else route.epoch,
        "reference": submission.reference,
        "owner": owner,
    }


def settlement_values(comparison: Comparison) -> Values:
    """What settling, or classifying again, changes in a ledger row; ``evaluation`` names the row."""
    return {
        "evaluation": comparison.evaluation_id,
        "classification": comparison.classification,
        "unexpected": comparison.unexpected,
        "comparison": comparison.model_dump_json(include=_COMPARISON_KEYS, exclude_defaults=True),
        "reruns": comparison.reruns,
        "cause": comparison.cause,
    }


def observation_values(
    evaluation_id: str,
    run: int,
    legacy: Observation | None,
    celery: Observation | None,
    waited_s: Mapping[Leg, float] | None = None,
) -> list[Values]:
    """A row for each side that is there."""
    return [
        {
            "evaluation_id": evaluation_id,
            "leg": leg,
            "run": run,
            "outcome": seen.outcome,
            "duration_s": seen.duration_s,
            "cpu_s": seen.cpu_s,
            "executor": seen.executor,
            "body": seen.model_dump_json(exclude_defaults=True),
            "waited_s": (waited_s or {}).get(leg),
        }
        for leg, seen in zip(LEGS, (legacy, celery), strict=True)
        if seen is not None
    ]


def decoded(read: Callable[[str], T], body: str, where: str) -> T:
    """``read(body)``; raises ``StoreError`` naming ``where`` when no version of Crucible wrote that."""
    try:
        return read(body)
    except (ValidationError, orjson.JSONDecodeError) as error:
        problem = str(error).splitlines()[0]
        raise StoreError(f"the store's {where} cannot be read ({problem}); put back a copy") from error


def evaluation_of(row: Row[Any]) -> Evaluation:
    """The evaluation in a row that has ``id`` and ``payload``."""
    return decoded(Evaluation.model_validate_json, row.payload, f"evaluation {row.id}")


def work_of(row: Row[Any]) -> Work:
    """The work in a row of ``queries.work``."""
    return Work(
        row.id,
        evaluation_of(row),
        None if row.route is None else route_of(row),
        None if row.recorded is None else observation_of(row.recorded, row.id, "legacy"),
    )


def route_of(row: Row[Any]) -> Route:
    """The route in a row of traffic that has ``id`` and ``route``."""
    return decoded(Route.model_validate_json, row.route, f"route of {row.id}")


def observation_of(body: str, evaluation_id: str, leg: Leg, run: int = 0) -> Observation:
    """The observation in ``body``."""
    where = f"observation of {evaluation_id}, {leg} leg, run {run}"
    return decoded(Observation.model_validate_json, body, where)


def comparison_of(row: Row[Any]) -> Comparison:
    """The comparison in a settled row of ``queries.ledger_rows``, with the observations of run 0."""
    legacy, celery = (
        observation_of(body, row.id, leg) if body is not None else None
        for leg, body in zip(LEGS, (row.legacy_body, row.celery_body), strict=True)
    )

    def read(body: str) -> Comparison:
        return Comparison(
            **orjson.loads(body),
            evaluation_id=row.id,
            name=row.name,
            language=row.language,
            classification=row.classification,
            legacy=legacy,
            celery=celery,
            reruns=row.reruns,
            cause=row.cause,
            waited_s={
                leg: waited
                for leg, waited in zip(LEGS, (row.legacy_waited_s, row.celery_waited_s), strict=True)
                if waited is not None
            },
        )

    return decoded(read, row.comparison, f"comparison of {row.id}")


def ledger_row_of(row: Row[Any]) -> LedgerRow:
    """The ledger row in a row of ``queries.ledger_rows``."""
    return LedgerRow(
        id=row.id,
        name=row.name,
        sweep_id=row.sweep_id,
        language=row.language,
        submitted_at=row.submitted_at,
        settled_at=row.settled_at,
        classification=row.classification,
        comparison=None if row.classification is None else comparison_of(row),
        route=None if row.route is None else route_of(row),
    )
