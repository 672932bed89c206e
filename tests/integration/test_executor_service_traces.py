"""What an executor tells of a request, in a header of its answer and nowhere else."""

import threading
from collections.abc import Iterator
from secrets import token_hex

import httpx
import pytest

from crucible.telemetry.handing import SPANS_HEADER, handed_over
from crucible.telemetry.record import SpanRecord
from tests.support.executor_service import ExecutorService, executor_service, seen_at_work


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    """An executor with one slot and room for two more."""
    with executor_service(slots="1", queue_limit="1") as started:
        yield started


def order(run_id: str, code: str, language: str = "bash") -> dict[str, object]:
    """A program to run."""
    return {"id": run_id, "language": language, "code": code, "limits": {"wall_s": 300}}


def post(service: ExecutorService, body: dict[str, object], traceparent: str | None) -> httpx.Response:
    """An order in a trace."""
    headers = {"traceparent": traceparent} if traceparent else {}
    return service.http.post("/execute", json=body, headers=headers)


def place(*, sampled: bool = True) -> str:
    """A place in a trace of its own."""
    return f"00-{token_hex(16)}-{token_hex(8)}-{'01' if sampled else '00'}"


def spans_of(answer: httpx.Response) -> dict[str, SpanRecord]:
    """What an answer hands over, by name."""
    handed = handed_over(answer.headers[SPANS_HEADER])
    return {str(each["name"]): SpanRecord.model_validate(each) for each in handed}


def test_the_answer_hands_over_what_was_done(service: ExecutorService) -> None:
    traceparent = place()
    answer = post(service, order(token_hex(8), "echo on"), traceparent)
    assert answer.status_code == 200
    spans = spans_of(answer)
    assert sorted(spans) == ["request", "sandbox run", "slot wait"]
    assert {each.trace_id for each in spans.values()} == {traceparent[3:35]}
    assert spans["request"].parent_id == traceparent[36:52]
    assert spans["slot wait"].parent_id == spans["sandbox run"].parent_id == spans["request"].span_id
    assert {each.service for each in spans.values()} == {"under-test"}
    assert spans["request"].duration_us >= spans["sandbox run"].duration_us > 0


@pytest.mark.parametrize("language", ["c"])
def test_compiling_is_told_of_by_itself(service: ExecutorService, language: str) -> None:
    if language not in service.health()["languages"]:
        pytest.skip(f"{language} is not installed here")
    code = f"int main(void) {{ return 0; }} /* {token_hex(8)} */"
    spans = spans_of(post(service, order(token_hex(8), code, language), place()))
    assert {"compile", "sandbox run"} <= set(spans)


@pytest.mark.parametrize(
    "traceparent", [None, "garbage", place(sampled=False)], ids=["none", "garbage", "unsampled"]
)
def test_without_a_sampled_trace_nothing_is_handed_over(
    service: ExecutorService, traceparent: str | None
) -> None:
    answer = post(service, order(token_hex(8), "echo on"), traceparent)
    assert answer.status_code == 200
    assert SPANS_HEADER not in answer.headers


def test_the_observation_is_the_same_with_a_trace_and_without(service: ExecutorService) -> None:
    run_id = token_hex(8)
    with_trace = post(service, order(run_id, "echo $RANDOM"), place())
    without = post(service, order(run_id, "echo $RANDOM"), None)
    assert with_trace.content == without.content


def test_who_asks_again_gets_what_the_run_told_meanwhile(service: ExecutorService) -> None:
    run_id, traceparent = token_hex(8), place()
    body = order(run_id, f"sleep 1; echo {run_id}; exit 0")
    with pytest.raises(httpx.ReadTimeout):
        service.http.post("/execute", json=body, headers={"traceparent": traceparent}, timeout=0.3)
    again = post(service, body, f"{traceparent[:36]}{token_hex(8)}-01")
    assert again.status_code == 200
    handed = [SpanRecord.model_validate(each) for each in handed_over(again.headers[SPANS_HEADER])]
    names = sorted(each.name for each in handed)
    assert names.count("sandbox run") == 1
    assert "request" in names


def test_a_refusal_hands_over_why(service: ExecutorService) -> None:
    markers = [f"traced-{token_hex(4)}" for _ in range(2)]
    asking = [threading.Thread(target=service.sleep, args=(marker,)) for marker in markers]
    for thread, marker in zip(asking, markers, strict=True):
        thread.start()
        if marker == markers[0]:
            seen_at_work(marker)
    while service.health()["queue"]["orders"] < 2:
        pass
    answer = post(service, order(token_hex(8), "echo on"), place())
    assert answer.status_code == 429
    assert spans_of(answer)["request"].status == "full"
    for marker in markers:
        service.http.delete(f"/executions/{marker}")
    for thread in asking:
        thread.join()


def test_who_has_no_token_is_told_of_nothing(service: ExecutorService) -> None:
    answer = httpx.post(
        f"{service.http.base_url}/execute",
        json=order("x", "echo on"),
        headers={"traceparent": place(), "Authorization": "Bearer wrong"},
    )
    assert answer.status_code == 401
    assert SPANS_HEADER not in answer.headers


def test_programs_see_nothing_of_the_trace(service: ExecutorService) -> None:
    traceparent = place()
    answer = post(service, order(token_hex(8), "env; cat /proc/self/environ"), traceparent)
    assert traceparent[3:35] not in answer.text
    assert answer.status_code == 200
