"""Rows as older versions of Crucible wrote them, in an order that foreign keys allow."""

from datetime import UTC, datetime
from typing import Any

_AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
_ROUTE = (
    '{"stage":"shadow","version":1,"legs":["legacy","celery"],"authority":"legacy","epoch":0,'
    '"strata":["all","language:python"]}'
)
_SEEN = (
    '{"outcome":"ok","exit_code":0,"stdout_b64":"MQo=","duration_s":0.25,"cpu_s":0.1,"executor":"executor-1"}'
)


def _evaluation(name: str, **more: Any) -> tuple[str, dict[str, Any]]:
    row = {
        "id": f"ev-0{name}",
        "sweep_id": "sw-old",
        "name": name,
        "language": "python",
        "payload": f'{{"id":"{name}","language":"python","code":"print(1)"}}',
        "submitted_at": _AT,
        "settled_at": _AT,
        "classification": "match",
        "unexpected": False,
        "comparison": "{}",
        "reruns": 0,
        "owner": "host-of-old",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return "evaluations", row | more


def _observation(name: str, leg: str) -> tuple[str, dict[str, Any]]:
    row = {"evaluation_id": f"ev-0{name}", "leg": leg, "run": 0, "outcome": "ok", "duration_s": 0.25}
    return "observations", row | {"cpu_s": 0.1, "executor": "executor-1", "body": _SEEN, "waited_s": 0.5}


_TALLY = {"mismatched": 0, "nondeterministic": 0, "unpaired": 0, "cancelled": 0, "not_sampled": 0}
_OPEN = {"settled_at": None, "classification": None, "comparison": None}

ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sweeps", {"id": "sw-old", "started_at": _AT, "parameters": "{}", "owner": "host-of-old"}),
    _evaluation("A", unexpected=True),
    _evaluation("B", classification="mismatch", reruns=3, cause="c0ffee"),
    _evaluation("C", **_OPEN),
    _evaluation("D", sweep_id=None, route=_ROUTE, epoch=0),
    *(_observation(name, leg) for name in "ABD" for leg in ("legacy", "celery")),
    (
        "tallies",
        {"epoch": 0, "stratum": "all", "submitted": 1, "waiting": 0, "matched": 1, **_TALLY},
    ),
    (
        "evidence",
        {"seq": 1, "epoch": 0, "evaluation_id": "ev-0D", "mismatch": False, "against_celery": False},
    ),
    ("detectors", {"epoch": 0, "stratum": "all", "log_m": -0.25}),
    ("counters", {"epoch": 0, "name": "noise:reruns", "number": 7}),
    ("audit", {"seq": 1, "body": "{}"}),
    ("api_keys", {"id": "key-1", "name": "n", "digest": "d", "scopes": "read", "created_at": _AT}),
    (
        "requests",
        {"api_key": "key-1", "idempotency_key": "k", "digest": "d", "evaluation_ids": "ev-0D", "at": _AT},
    ),
    ("evaluation_tags", {"tag": "nightly", "evaluation_id": "ev-0A"}),
    (
        "spans",
        {"trace_id": "0" * 32, "span_id": "1" * 16, "name": "submit", "service": "api", "body": "{}"}
        | {"started_us": 2**40, "duration_us": 2**33},
    ),
)
