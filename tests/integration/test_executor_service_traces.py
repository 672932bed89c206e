"""What an executor tells of a request in its answer, and the spans that its client makes of that."""

import threading
from collections.abc import Iterator
from secrets import token_hex

import httpx
import orjson
import pytest

from crucible.errors import InputError
from crucible.telemetry.spans import Root, inside, root
from executors.client import ExecutorClient
from executors.timings import TIMING_HEADER, Timing, timings_in
from tests.support.executor_service import TOKEN, ExecutorService, executor_service, seen_at_work
from tests.support.spans import KeptSpans, kept_spans


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    """An executor with one slot and room for two more."""
    with executor_service(slots="1", queue_limit="1") as started:
        yield started


@pytest.fixture
def client(service: ExecutorService) -> Iterator[ExecutorClient]:
    """A client of it that does not try again for long."""
    made = ExecutorClient([str(service.http.base_url)], TOKEN, 0.3, 1)
    yield made
    made.close()


def order(run_id: str, code: str, language: str = "bash") -> dict[str, object]:
    """A program to run."""
    return {"id": run_id, "language": language, "code": code, "limits": {"wall_s": 300}}


def post(service: ExecutorService, body: dict[str, object], traceparent: str | None = None) -> httpx.Response:
    """An order, in a trace if that is given."""
    headers = {"traceparent": traceparent} if traceparent else {}
    return service.http.post("/execute", json=body, headers=headers)


def place(*, sampled: bool = True) -> str:
    """A place in a trace of its own."""
    return f"00-{token_hex(16)}-{token_hex(8)}-{'01' if sampled else '00'}"


def timings_of(answer: httpx.Response) -> dict[str, Timing]:
    """What an answer tells, by name."""
    return {each.name: each for each in timings_in(answer.headers[TIMING_HEADER])}


def executed(client: ExecutorClient, code: str, language: str = "bash") -> KeptSpans:
    """The spans that executing a program makes."""
    with kept_spans() as kept:
        whole = root("execute", Root.ALWAYS, {})
        with inside(whole.get_span_context()):
            client.execute(token_hex(8), language, code, "", {"wall_s": 300})
    return kept


def test_the_client_makes_spans_of_what_was_done(client: ExecutorClient) -> None:
    kept = executed(client, "echo on")
    assert sorted(each.name for each in kept.records) == ["attempt", "request", "sandbox run", "slot wait"]
    request, attempt = kept.one("request"), kept.one("attempt")
    assert request.parent_id == attempt.span_id
    assert {kept.one(name).parent_id for name in ("slot wait", "sandbox run")} == {request.span_id}
    assert {kept.one(name).service for name in ("request", "slot wait", "sandbox run")} == {"under-test"}
    assert len({each.trace_id for each in kept.records}) == 1
    assert attempt.duration_us >= request.duration_us >= kept.one("sandbox run").duration_us > 0
    assert kept.one("sandbox run").attributes["isolation"]


@pytest.mark.parametrize("language", ["c"])
def test_compiling_is_told_of_by_itself(
    service: ExecutorService, client: ExecutorClient, language: str
) -> None:
    if language not in service.health()["languages"]:
        pytest.skip(f"{language} is not installed here")
    kept = executed(client, f"int main(void) {{ return 0; }} /* {token_hex(8)} */", language)
    compiling, running = kept.one("compile"), kept.one("sandbox run")
    assert compiling.started_us + compiling.duration_us <= running.started_us + 1


def test_the_observation_is_the_same_with_a_trace_and_without(service: ExecutorService) -> None:
    run_id = token_hex(8)
    with_trace = post(service, order(run_id, "echo $RANDOM"), place())
    without = post(service, order(run_id, "echo $RANDOM"))
    assert with_trace.content == without.content


def test_who_asks_again_is_told_of_the_run_that_went_on_meanwhile(service: ExecutorService) -> None:
    run_id = token_hex(8)
    body = order(run_id, f"sleep 1; echo {run_id}; exit 0")
    with pytest.raises(httpx.ReadTimeout):
        service.http.post("/execute", json=body, headers={"traceparent": place()}, timeout=0.3)
    again = timings_of(post(service, body, place()))
    assert again["sandbox run"].began_s < 0, "it began before that request"
    assert again["sandbox run"].duration_s >= 1
    once_more = timings_of(post(service, body, place()))
    assert once_more["sandbox run"].duration_s == again["sandbox run"].duration_s
    assert once_more["sandbox run"].began_s < again["sandbox run"].began_s


def test_a_refusal_takes_time_too(service: ExecutorService) -> None:
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
    assert list(timings_of(answer)) == ["request"]
    for marker in markers:
        service.http.delete(f"/executions/{marker}")
    for thread in asking:
        thread.join()


def test_a_request_that_is_refused_says_why(client: ExecutorClient) -> None:
    with kept_spans() as kept:
        whole = root("execute", Root.ALWAYS, {})
        with inside(whole.get_span_context()), pytest.raises(InputError):
            client.execute(token_hex(8), "bash", "echo on", "", {"wall_s": -1})
    assert "wall_s" in (kept.one("request").status or "")
    assert kept.one("request").service == "under-test"


def test_who_has_no_token_is_told_why_and_of_no_run(service: ExecutorService) -> None:
    answer = httpx.post(
        f"{service.http.base_url}/execute",
        json=order("x", "echo on"),
        headers={"traceparent": place(), "Authorization": "Bearer wrong"},
    )
    assert answer.status_code == 401
    assert list(timings_of(answer)) == ["request"]


def test_log_lines_name_the_trace_of_whoever_asks() -> None:
    traceparent = place()
    with executor_service(slots="1") as service:
        post(service, order("logged", "echo on"), traceparent)
        post(service, order("silent", "echo on"), place(sampled=False))
        service.process.terminate()
        said = service.process.communicate()[0]
    lines = [orjson.loads(each) for each in said.splitlines() if each.startswith("{")]
    assert [(each["run_id"], each["trace_id"]) for each in lines if each["event"] == "executed"] == [
        ("logged", traceparent[3:35])
    ]


def test_programs_see_nothing_of_the_trace(service: ExecutorService) -> None:
    traceparent = place()
    answer = post(service, order(token_hex(8), "env; cat /proc/self/environ"), traceparent)
    assert traceparent[3:35] not in answer.text
    assert answer.status_code == 200
