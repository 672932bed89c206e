"""One program over many cases, each observation as a line as soon as it is there."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crucible.models import Observation
from tests.support.executor_service import (
    ExecutorService,
    batch_of,
    executor_service,
    kill_slot_of,
    seen_at_work,
    seen_gone,
    sleeper,
)
from tests.support.programs import processes_with
from tests.support.waiting import eventually

BIG = "head -c 1000000 /dev/zero"


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="2", queue_limit="4") as ready:
        yield ready


def fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4()}"


def lines_of(service: ExecutorService, body: dict[str, Any]) -> list[dict[str, Any]]:
    with service.stream(body) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        return [json.loads(line) for line in answer.iter_lines()]


def test_each_line_is_an_observation_with_its_case_and_the_last_is_the_summary(
    service: ExecutorService,
) -> None:
    cases = [{"stdin": "sleep 0.3; echo a", "id": "first"}, {"stdin": "echo b"}]
    *lines, last = lines_of(service, batch_of("lines", []) | {"cases": cases})
    assert [(line.pop("case"), line.pop("id")) for line in lines] == [(0, "first"), (1, None)]
    assert [Observation.model_validate(line).stdout for line in lines] == [b"a\n", b"b\n"]
    assert last == {"summary": {"observations": 2, "compile": None, "stopped": False}}


def test_a_line_comes_before_the_cases_behind_it_have_ended(service: ExecutorService) -> None:
    run_id, marker = fresh("early"), fresh("behind")
    with service.stream(batch_of(run_id, ["echo first", sleeper(marker), "echo third"])) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["outcome"] == "ok"
        seen_at_work(marker)
        assert service.http.delete(f"/executions/{run_id}").status_code == 202
        second, third, last = map(json.loads, lines)
    assert second["outcome"] == "cancelled"
    assert third["outcome"] in {"ok", "cancelled"}
    assert last["summary"]["observations"] == 3
    assert processes_with(marker) == []


def test_with_stop_at_first_failure_the_summary_follows_the_failure(service: ExecutorService) -> None:
    marker = fresh("later")
    body = batch_of(fresh("stop"), [":", "exit 4", sleeper(marker)], stop_at_first_failure=True)
    *lines, last = lines_of(service, body)
    assert [line["exit_code"] for line in lines] == [0, 4]
    assert last["summary"] == {"observations": 2, "compile": None, "stopped": True}
    assert processes_with(marker) == []


def test_what_does_not_compile_is_told_by_the_summary(service: ExecutorService) -> None:
    (last,) = lines_of(service, batch_of("broken", ["", ""], language="c", code="int main( {"))
    assert last["summary"]["compile"]["outcome"] == "compile_error"


def test_a_lost_slot_ends_the_stream_with_a_problem(service: ExecutorService) -> None:
    run_id, marker = fresh("lost"), fresh("victim")
    with service.stream(batch_of(run_id, ["echo fine", sleeper(marker), *["sleep 0.01"] * 500])) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["outcome"] == "ok"
        seen_at_work(marker)
        kill_slot_of(marker)
        (last,) = map(json.loads, lines)
    assert (last["status"], last["title"]) == (503, "Service Unavailable")
    assert "the slot was lost" in last["detail"]


def test_who_hangs_up_ends_the_cases_that_are_left(service: ExecutorService) -> None:
    marker = fresh("left")
    with service.stream(batch_of(fresh("hangs-up"), [":", *[sleeper(marker)] * 9])) as answer:
        lines = answer.iter_lines()
        next(lines)
        seen_at_work(marker)
    asyncio.run(eventually(lambda: service.health()["queue"]["orders"] == 0))
    seen_gone(marker)


@pytest.mark.parametrize("stop", [False, True])
def test_much_output_behind_a_slow_case_is_neither_held_without_bound_nor_lost(
    service: ExecutorService, *, stop: bool
) -> None:
    marker, before = fresh("slow"), executions(service)
    body = batch_of(fresh("ahead"), [sleeper(marker), *[BIG] * 40], stop_at_first_failure=stop)
    with service.stream(body) as answer:
        asyncio.run(eventually(lambda: stalled(service)))
        assert 1 <= executions(service) - before <= 10
        seen_at_work(marker)
        processes_with(marker)[0].kill()
        *lines, last = map(json.loads, answer.iter_lines())
    assert lines[0]["outcome"] == "signalled"
    assert len(lines) == (1 if stop else 41)
    assert [line["case"] for line in lines] == list(range(len(lines)))
    assert last["summary"]["stopped"] is stop


def executions(service: ExecutorService) -> float:
    """How many programs have ended as ``ok`` so far."""
    families = text_string_to_metric_families(service.http.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    name = "crucible_executor_executions_total"
    return sum(each.value for each in samples if each.name == name and each.labels["outcome"] == "ok")


def stalled(service: ExecutorService) -> bool:
    """Whether only the slow case runs for as long as the one behind it takes many times over."""
    return {service.health()["queue"]["running"] for _ in range(100)} == {1}


def test_an_id_that_is_streamed_is_not_to_be_had_again_until_the_end(service: ExecutorService) -> None:
    run_id, marker = fresh("taken"), fresh("streamed")
    body = batch_of(run_id, [":", sleeper(marker)])
    with service.stream(body) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert service.batch(run_id, [":"]).status_code == 409
        with service.stream(body) as second:
            assert second.status_code == 409
        service.http.delete(f"/executions/{run_id}")
        seen_gone(marker)
    asyncio.run(eventually(lambda: service.health()["queue"]["orders"] == 0))
    assert service.batch(run_id, [":"]).status_code == 200


def test_a_single_run_is_no_stream(service: ExecutorService) -> None:
    with service.stream({"id": "single", "language": "bash", "code": "echo a"}) as answer:
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.read())["stdout_b64"] == "YQo="
