"""What waits at an executor: how much of it, what is told of it, and how it is cancelled."""

import asyncio
import base64
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.executor_service import ExecutorService, executor_service, kill_slot_of, seen_at_work
from tests.support.programs import processes_with
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="2", queue_limit="2") as ready:
        yield ready


def figures(service: ExecutorService) -> dict[str, float]:
    """All metrics, without the prefix; labels in braces."""
    text = service.http.get("/metrics", headers={"Authorization": ""}).text
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}".removeprefix(
            "crucible_executor_"
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wait_for_orders(service: ExecutorService, running: int, waiting: int) -> None:
    def are_there() -> bool:
        queue = service.health()["queue"]
        return (queue["running"], queue["waiting"]) == (running, waiting)

    asyncio.run(eventually(are_there))


def test_past_the_queue_callers_are_asked_to_come_again(service: ExecutorService) -> None:
    markers = [f"queue-{uuid.uuid4()}" for _ in range(5)]  # one more than run and wait here
    with ThreadPoolExecutor(5) as callers:
        asked = {callers.submit(service.sleep, marker): marker for marker in markers}
        refused = next(as_completed(asked, timeout=30))
        assert refused.result().status_code == 429
        assert 1 <= int(refused.result().headers["retry-after"]) <= 60
        assert service.health()["queue"]["orders"] == service.health()["queue"]["limit"] == 4
        del asked[refused]
        for marker in asked.values():
            assert service.http.delete(f"/executions/{marker}").status_code == 202
        assert {each.result(30).json()["outcome"] for each in asked} == {"cancelled"}
    assert service.execute("one-more", "echo now").status_code == 200


def test_a_batch_counts_as_one(service: ExecutorService) -> None:
    marker = f"one-{uuid.uuid4()}"
    with ThreadPoolExecutor(2) as callers:
        batch = callers.submit(service.batch, marker, [f"exec -a {marker} sleep 300"] * 50)
        wait_for_orders(service, running=2, waiting=0)
        single = callers.submit(service.execute, f"{marker}-single", ":")
        wait_for_orders(service, running=2, waiting=1)
        assert service.health()["queue"]["orders"] == 2
        assert service.http.delete(f"/executions/{marker}").status_code == 202
        assert single.result(30).json()["outcome"] == "ok"
        assert len(batch.result(30).json()["observations"]) == 50


def test_deleting_ends_a_run(service: ExecutorService) -> None:
    marker = f"cancel-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.sleep, marker)
        seen_at_work(marker)
        assert service.http.delete(f"/executions/{marker}").status_code == 202
        seen = asked.result(30).json()
    assert (seen["outcome"], base64.b64decode(seen["stdout_b64"])) == ("cancelled", b"on\n")
    assert processes_with(marker) == []
    assert service.http.delete(f"/executions/{marker}").status_code == 404


def test_deleting_a_run_that_waits_answers_it_before_any_slot_is_free(service: ExecutorService) -> None:
    markers = [f"busy-{uuid.uuid4()}" for _ in range(2)]
    waiting = f"waiting-{uuid.uuid4()}"
    with ThreadPoolExecutor(3) as callers:
        busy = [callers.submit(service.sleep, marker) for marker in markers]
        for marker in markers:
            seen_at_work(marker)
        asked = callers.submit(service.sleep, waiting)
        wait_for_orders(service, running=2, waiting=1)
        assert service.http.delete(f"/executions/{waiting}").status_code == 202
        seen = asked.result(30).json()
        assert (seen["outcome"], seen["stdout_b64"], seen["executor"]) == ("cancelled", "", "under-test")
        assert all(processes_with(marker) for marker in markers)
        for marker in markers:
            service.http.delete(f"/executions/{marker}")
        assert {each.result(30).json()["outcome"] for each in busy} == {"cancelled"}


def test_metrics_tell_what_runs_and_waits(service: ExecutorService) -> None:
    markers = [f"gauge-{uuid.uuid4()}" for _ in range(3)]
    with ThreadPoolExecutor(3) as callers:
        asked = [callers.submit(service.sleep, marker) for marker in markers]
        wait_for_orders(service, running=2, waiting=1)
        seen = figures(service)
        for marker in markers:
            service.http.delete(f"/executions/{marker}")
        assert {each.result(30).status_code for each in asked} == {200}
    assert [seen[f"{name}{{}}"] for name in ("slots", "running", "waiting", "orders")] == [2, 2, 1, 3]
    after = figures(service)
    assert [after[f"{name}{{}}"] for name in ("slots", "running", "waiting", "orders")] == [2, 0, 0, 0]


def test_metrics_count_executions_by_language_and_outcome(service: ExecutorService) -> None:
    before = figures(service)
    run_id = f"count-{uuid.uuid4()}"
    service.execute(f"{run_id}-ok", "sleep 0.02")
    service.execute(f"{run_id}-failed", "exit 1")
    service.batch(f"{run_id}-batch", [":", ":"])
    service.execute(f"{run_id}-rejected", "", "a language of nobody's")
    after = figures(service)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("executions_total{bash,ok}") == 3
    assert grown("executions_total{bash,nonzero_exit}") == 1
    assert grown("executions_total{unknown,rejected}") == 1
    assert grown("duration_seconds_count{bash}") == 4
    assert grown("duration_seconds_sum{bash}") >= 0.02
    assert grown("duration_seconds_bucket{bash,0.01}") < grown("duration_seconds_bucket{bash,+Inf}") == 4


def test_metrics_count_faults_and_refusals(service: ExecutorService) -> None:
    before, marker = figures(service), f"fault-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.sleep, marker)
        seen_at_work(marker)
        kill_slot_of(marker)
        assert asked.result(30).status_code == 503
    service.http.post("/execute", content=b"[]")
    service.http.post("/execute", content=b"[]", headers={"Authorization": ""})
    after = figures(service)
    for name in ("sandbox_errors_total{}", "refused_total{invalid}", "refused_total{token}"):
        assert after[name] == before.get(name, 0) + 1
