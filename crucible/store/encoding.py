"""Values to rows and back. Only observations repeat in their JSON what columns beside it say.

Observations: what is large is compressed, and what both legs printed is kept once. Small ones stay plain
JSON. A packed one begins with ``z:``, followed by compressed JSON in base 64. One with ``as_legacy`` has no
output of its own, but that of legacy's observation of the same run.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import Row

from crucible.errors import StoreError
from crucible.models import LEGS, Comparison, Evaluation, Leg, Observation
from crucible.rollout.stage import Route
from crucible.store.entries import LedgerRow, Submission, Work

_PACKED = "z:"
_LARGE = 4096
"""Characters from which it pays: below, compressing costs more time than it saves pages."""

_OUTPUT = {"stdout_b64", "stderr_b64"}


def packed(seen: Observation, twin: Observation | None = None) -> str:
    """``seen`` as text; ``twin`` is legacy's observation where that is written in the same transaction."""
    body = seen.model_dump_json(exclude_defaults=True)
    if len(body) < _LARGE:
        return body
    if twin is not None and all(getattr(seen, name) == getattr(twin, name) for name in _OUTPUT):
        document = seen.model_dump(mode="json", exclude_defaults=True, exclude=_OUTPUT)
        return orjson.dumps({**document, "as_legacy": True}).decode()
    short = _PACKED + b64encode(zlib.compress(body.encode(), 1)).decode()
    return short if len(short) < len(body) else body


def unpacked(body: str, legacy: Observation | None = None) -> Observation:
    """What was packed into ``body``; ``legacy`` is needed where that has the output.

    Raises ``ValueError`` where no version of Crucible wrote that.
    """
    if body.startswith(_PACKED):
        try:
            body = zlib.decompress(b64decode(body.removeprefix(_PACKED))).decode()
        except zlib.error as error:
            raise ValueError(f"does not unpack: {error}") from error
    document = orjson.loads(body)
    if isinstance(document, dict) and document.pop("as_legacy", False):
        if legacy is None:
            raise ValueError("has the output of legacy's observation, which is missing")
        document |= {name: getattr(legacy, name) for name in _OUTPUT}
    return Observation.model_validate(document)


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
    submission: Submission,
    route: Route | None,
    now: datetime,
    owner: str | None,
    traceparent: str | None = None,
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
        "traceparent": traceparent,
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


def sweep_values(sweep_id: str, parameters: Mapping[str, Any], owner: str | None) -> Values:
    """The row of a sweep that begins now."""
    return {
        "id": sweep_id,
        "started_at": datetime.now(UTC),
        "parameters": orjson.dumps(parameters).decode(),
        "owner": owner,
    }


def tag_values(submissions: Iterable[Submission]) -> list[Values]:
    """A row for each tag of each evaluation."""
    return [
        {"tag": tag, "evaluation_id": each.id}
        for each in submissions
        for tag in dict.fromkeys(each.evaluation.tags)
    ]


def observation_values(
    evaluation_id: str,
    run: int,
    legacy: Observation | None,
    celery: Observation | None,
    waited_s: Mapping[Leg, float] | None = None,
) -> list[Values]:
    """A row for each side that is there.

    Run 0 is written once, both sides in one transaction: what they have in common is in legacy's row then.
    """
    twins = {"celery": legacy if run == 0 else None}
    return [
        {
            "evaluation_id": evaluation_id,
            "leg": leg,
            "run": run,
            "outcome": seen.outcome,
            "duration_s": seen.duration_s,
            "cpu_s": seen.cpu_s,
            "executor": seen.executor,
            "body": packed(seen, twins.get(leg)),
            "waited_s": (waited_s or {}).get(leg),
        }
        for leg, seen in zip(LEGS, (legacy, celery), strict=True)
        if seen is not None
    ]


def decoded(read: Callable[[str], T], body: str, where: str) -> T:
    """``read(body)``; raises ``StoreError`` naming ``where`` when no version of Crucible wrote that."""
    try:
        return read(body)
    except ValueError as error:  # pydantic's and orjson's are such
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
        row.traceparent,
    )


def route_of(row: Row[Any]) -> Route:
    """The route in a row of traffic that has ``id`` and ``route``."""
    return decoded(Route.model_validate_json, row.route, f"route of {row.id}")


def observation_of(
    body: str, evaluation_id: str, leg: Leg, run: int = 0, legacy: Observation | None = None
) -> Observation:
    """The observation in ``body``; ``legacy`` is that leg's of the same run, where there is one."""
    where = f"observation of {evaluation_id}, {leg} leg, run {run}"
    return decoded(lambda text: unpacked(text, legacy), body, where)


def comparison_of(row: Row[Any]) -> Comparison:
    """The comparison in a settled row of ``queries.ledger_rows``, with the observations of run 0."""
    legacy = None if row.legacy_body is None else observation_of(row.legacy_body, row.id, "legacy")
    celery = None
    if row.celery_body is not None:
        celery = observation_of(row.celery_body, row.id, "celery", legacy=legacy)

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
        traceparent=row.traceparent,
    )
