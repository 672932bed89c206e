"""One program over many cases, answered in one piece."""

import asyncio
import base64
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

DOUBLE = '#include <stdio.h>\nint main() { int n; scanf("%d", &n); printf("%d", 2 * n); }'


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="2", queue_limit="4") as ready:
        yield ready


def fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4()}"


def outcomes(answer: dict[str, Any]) -> list[str]:
    return [seen["outcome"] for seen in answer["observations"]]


def test_every_case_has_its_own_answer_in_order(service: ExecutorService) -> None:
    answer = service.batch("order", [f"sleep 0.{9 - n}; echo {n}" for n in range(8)]).json()
    assert answer.keys() == {"observations", "compile", "stopped"}
    assert (answer["compile"], answer["stopped"]) == (None, False)
    seen = [Observation.model_validate(each) for each in answer["observations"]]
    assert [each.stdout for each in seen] == [b"%d\n" % n for n in range(8)]
    assert {each.executor for each in seen} == {"under-test"}


@settings(max_examples=15)
@given(codes=st.lists(st.sampled_from([0, 0, 0, 3]), min_size=1, max_size=12), stop=st.booleans())
def test_the_answer_is_that_of_single_runs_up_to_the_first_failure(
    service: ExecutorService, codes: list[int], *, stop: bool
) -> None:
    scripts = [f"sleep 0.0{n % 4}; exit {code}" for n, code in enumerate(codes)]
    answer = service.batch(fresh("codes"), scripts, stop_at_first_failure=stop).json()
    last = codes.index(3) + 1 if stop and 3 in codes else len(codes)
    assert [seen["exit_code"] for seen in answer["observations"]] == codes[:last]
    assert answer["stopped"] is (last < len(codes))


def test_each_case_finds_nothing_of_those_before_it(service: ExecutorService) -> None:
    look = "ls /box /tmp; touch /box/left /tmp/left"
    answer = service.batch("fresh", [look] * 6).json()
    assert {base64.b64decode(seen["stdout_b64"]) for seen in answer["observations"]} == {
        b"/box:\nmain.sh\n\n/tmp:\n"
    }


def test_a_thousand_cases_are_taken_and_one_more_is_not(service: ExecutorService) -> None:
    answer = service.batch("thousand", [":"] * 1000).json()
    assert outcomes(answer) == ["ok"] * 1000
    assert service.batch("more", [":"] * 1001).json()["detail"].startswith("cases")


def compiled(service: ExecutorService) -> tuple[float, float]:
    """Hits and misses of the compile cache."""
    families = text_string_to_metric_families(service.http.get("/metrics").text)
    values = {sample.name: sample.value for family in families for sample in family.samples}
    prefix = "crucible_executor_compile_cache"
    return values[f"{prefix}_hits_total"], values[f"{prefix}_misses_total"]


def test_a_program_is_compiled_once_for_all_cases(service: ExecutorService) -> None:
    hits, misses = compiled(service)
    order = batch_of("compiled", [str(n) for n in range(5)], language="c", code=DOUBLE)
    answer = service.http.post("/execute", json=order).json()
    doubled = [base64.b64decode(seen["stdout_b64"]) for seen in answer["observations"]]
    assert doubled == [b"0", b"2", b"4", b"6", b"8"]
    assert compiled(service) == (hits, misses + 1)


def test_what_does_not_compile_is_not_run(service: ExecutorService) -> None:
    answer = service.batch("broken", ["", ""], language="c", code="int main( {").json()
    assert (answer["observations"], answer["stopped"]) == ([], False)
    assert answer["compile"]["outcome"] == "compile_error"
    assert b"error" in base64.b64decode(answer["compile"]["stderr_b64"])


def test_a_failure_ends_the_cases_behind_it_that_run_already(service: ExecutorService) -> None:
    first, second = fresh("first"), fresh("second")
    scripts = [sleeper(first), sleeper(second), "echo never"]
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.batch, fresh("stop"), scripts, stop_at_first_failure=True)
        seen_at_work(first)
        seen_at_work(second)
        processes_with(first)[0].kill()
        answer = asked.result(30).json()
    assert (outcomes(answer), answer["stopped"]) == (["signalled"], True)
    assert processes_with(second) == []


def test_deleting_a_batch_ends_all_its_cases(service: ExecutorService) -> None:
    run_id, marker = fresh("deleted"), fresh("case")
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.batch, run_id, ["echo done", *[sleeper(marker)] * 5])
        # In both slots, so that the first case has ended.
        asyncio.run(eventually(lambda: len(processes_with(marker)) == 2))
        assert service.http.delete(f"/executions/{run_id}").status_code == 202
        answer = asked.result(30).json()
    assert outcomes(answer) == ["ok"] + ["cancelled"] * 5
    assert processes_with(marker) == []
    assert service.health()["queue"]["orders"] == 0


def test_a_lost_slot_is_nobody_s_outcome_and_the_batch_can_be_sent_again(service: ExecutorService) -> None:
    run_id, marker = fresh("lost"), fresh("victim")
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.batch, run_id, ["echo fine", sleeper(marker), "echo fine"])
        seen_at_work(marker)
        kill_slot_of(marker)
        answer = asked.result(30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "the slot was lost" in answer.json()["detail"]
    assert outcomes(service.batch(run_id, [":", ":"]).json()) == ["ok", "ok"]


def test_the_same_id_joins_the_batch_under_way_and_gets_the_kept_answer(service: ExecutorService) -> None:
    run_id, scripts = fresh("twice"), ["date +%N; sleep 0.3"] * 2
    with ThreadPoolExecutor(3) as callers:
        answers = {each.content for each in callers.map(lambda _: service.batch(run_id, scripts), range(3))}
    answers.add(service.batch(run_id, scripts).content)
    assert len(answers) == 1


def test_an_id_under_way_in_one_form_is_not_to_be_had_in_another(service: ExecutorService) -> None:
    marker = fresh("form")
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.sleep, marker)
        seen_at_work(marker)
        refused = service.batch(marker, [":"])
        assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (409, "id")
        service.http.delete(f"/executions/{marker}")
        assert asked.result(30).json()["outcome"] == "cancelled"
    assert outcomes(service.batch(marker, [":"]).json()) == ["ok"]


def test_an_answer_too_large_for_one_piece_is_refused_with_the_remedy(service: ExecutorService) -> None:
    refused = service.batch("large", ["head -c 1000000 /dev/zero"] * 40)
    assert refused.status_code == 413
    assert refused.json()["detail"].startswith("cases")
    assert "application/x-ndjson" in refused.json()["detail"]


def test_others_are_served_while_a_batch_is_under_way(service: ExecutorService) -> None:
    run_id, marker = fresh("long"), fresh("started")
    scripts = [*["sleep 0.05"] * 900, sleeper(marker), sleeper(marker)]
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.batch, run_id, scripts)
        while not service.health()["queue"]["running"]:
            pass
        assert [service.execute(fresh("other"), "echo served").status_code for _ in range(5)] == [200] * 5
        assert processes_with(marker) == []  # the batch is not at its end yet
        service.http.delete(f"/executions/{run_id}")
        assert asked.result(30).status_code == 200
    seen_gone(marker)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cases": []}, "cases"),
        ({"cases": "a"}, "cases"),
        ({"cases": [{"stdin": 1}]}, "cases.0.stdin"),
        ({"cases": [{}, {"surprise": 1}]}, "cases.1.surprise"),
        ({"cases": [{"id": "x" * 201}]}, "cases.0.id"),
        ({"cases": [{}], "stdin": "a"}, "cases"),
        ({"cases": None, "stop_at_first_failure": True}, "stop_at_first_failure"),
        ({"cases": [{}], "stop_at_first_failure": "perhaps"}, "stop_at_first_failure"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_with_the_key(
    service: ExecutorService, change: dict[str, Any], named: str
) -> None:
    answer = service.http.post("/execute", json={"id": "a", "language": "bash", "code": ":"} | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(f"{named}:")
