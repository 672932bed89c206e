"""The chord's client: submits a corpus, a bounded number at a time, and takes the results in order."""

import time
from collections import deque
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery, chord
from celery.result import AsyncResult

from bench.child import Orders
from bench.contenders.chord_app import make_app
from crucible.corpus import read
from crucible.models import Evaluation

_UNDER_WAY = 400
"""As many as Crucible's sweep has under way: two batches of 200."""
_RESULT_WITHIN_S = 120


def run_all(app: Celery, corpus: Path) -> dict[str, Any]:
    """Run a corpus; seconds, the programs' CPU seconds, and how many evaluations got each classification."""
    results: list[dict[str, Any]] = []
    waiting: deque[AsyncResult] = deque()
    started = time.monotonic()
    for line in read(corpus):
        waiting.append(_submit(app, line.evaluation))
        if len(waiting) == _UNDER_WAY:
            results.append(waiting.popleft().get(timeout=_RESULT_WITHIN_S))
    results += [each.get(timeout=_RESULT_WITHIN_S) for each in waiting]
    return {
        "seconds": time.monotonic() - started,
        "programs_cpu_s": sum(each["programs_cpu_s"] for each in results),
        "matched": sum(each["classification"] == "match" for each in results),
    }


def _submit(app: Celery, evaluation: Evaluation) -> AsyncResult:
    program = {
        "id": uuid4().hex,
        "language": evaluation.language,
        "code": evaluation.code,
        "stdin": evaluation.stdin,
        "limits": evaluation.limits.model_dump(),
    }
    legs = [app.tasks[name].s(program) for name in ("legacy_like", "celery_task")]
    return chord(legs, app=app)(app.tasks["compare"].s())


def round_trips(app: Celery, number: int) -> list[float]:
    """Seconds of so many bare ``delay().get()``, one after the other."""
    found = []
    for _ in range(number):
        started = time.monotonic()
        app.tasks["nothing"].delay().get(timeout=_RESULT_WITHIN_S)
        found.append(time.monotonic() - started)
    return found


def main() -> None:
    """Answer orders ``{"corpus"}`` and ``{"round_trips"}`` until there are no more."""
    orders = Orders()
    app = make_app()
    app.set_current()
    for order in orders:
        if "round_trips" in order:
            orders.answer({"seconds": round_trips(app, order["round_trips"])})
        else:
            orders.answer(run_all(app, Path(order["corpus"])))


if __name__ == "__main__":
    main()
