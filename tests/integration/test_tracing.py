"""One trace of one evaluation through all processes of a real stack, whatever happens to them meanwhile."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import httpx
import pytest
import redis

from deployments.stack import ServiceState, StackState
from tasks.claims import claim_key
from tests.support.collector import Collector, collecting
from tests.support.command_line import CommandLine
from tests.support.exposed import exposed
from tests.support.monitoring import asked_of_prometheus
from tests.support.stacks import client_of, stack_up

pytestmark = pytest.mark.stack

T = TypeVar("T")

_PATIENCE_S = 240
_SLOW = "import time; time.sleep(10)"
"""Runs until a process was killed under it, also where that takes its time."""
_SECRET = "not-for-any-log-or-trace"
ON_BOTH_LEGS = ("enqueue", "queue wait", "claim", "execute", "attempt", "request", "sandbox run", "reply")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the stack exports its traces besides."""
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[CommandLine]:
    """A stack of one's own, patient with executors, quick to reap, and without second runs for noise."""
    settings = {
        "OTLP_ENDPOINT": collector.url,
        "WORKER_RETRY_S": "60",
        "WORKER_LEASE_S": "2",
        "GATE_NOISE_SHARE": "0",
    }
    with stack_up(tmp_path_factory.mktemp("traced") / "home", **settings) as command_line:
        yield command_line


@pytest.fixture(scope="module")
def stack(home: CommandLine) -> StackState:
    """The state of that stack."""
    return home.state()


@pytest.fixture(scope="module")
def client(stack: StackState) -> Iterator[httpx.Client]:
    """A client of its API."""
    with client_of(stack, 2 * _PATIENCE_S) as made:
        yield made


@pytest.fixture(scope="module")
def calm(client: httpx.Client) -> dict[str, Any]:
    """The trace of an evaluation to which nothing happened, with its ``id``."""
    asked = client.post("/evaluations?wait=60", json=program(f"print({_SECRET!r})"))
    assert asked.json()["classification"] == "match"
    return traced(client, asked.json()["id"], is_told_by_all)


@pytest.fixture(scope="module")
def retried(home: CommandLine, client: httpx.Client) -> dict[str, Any]:
    """The trace of an evaluation whose executor-3 was killed under it and started again."""
    new_id = client.post("/evaluations", json=program(_SLOW)).json()["id"]
    claimed_by(home, new_id, "celery")
    time_to_reach_it(home, "executor-3")
    os.kill(home.pid_of("executor-3"), signal.SIGKILL)
    settled(client, new_id)
    return traced(client, new_id, is_told_by_the_second_executor)


def program(code: str) -> dict[str, object]:
    """A Python program."""
    return {"id": "traced", "language": "python", "code": code, "limits": {"wall_s": 60, "cpu_s": 60}}


def eventually(found: Callable[[], T]) -> T:
    """What ``found`` gives, once it gives something."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return result


def settled(client: httpx.Client, evaluation_id: str) -> dict[str, Any]:
    """An evaluation, once it has its column."""

    def state() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/evaluations/{evaluation_id}").json()
        return found if found["status"] == "settled" else None

    return eventually(state)


def traced(
    client: httpx.Client, evaluation_id: str, whole: Callable[[dict[str, list[Any]]], bool]
) -> dict[str, Any]:
    """The trace of an evaluation, once its spans, by name, are ``whole``."""

    def trace() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/evaluations/{evaluation_id}/trace").json()
        return found if whole(by_name(found)) else None

    return eventually(trace) | {"id": evaluation_id}


def by_name(trace: dict[str, Any]) -> dict[str, list[Any]]:
    """The spans of a trace by name, each by time."""
    found: dict[str, list[Any]] = {}
    for span in trace["spans"]:
        found.setdefault(span["name"], []).append(span)
    return found


def on(leg: str, spans: list[Any]) -> list[Any]:
    """Those of one leg."""
    return [each for each in spans if each["leg"] == leg]


def is_told_by_all(spans: dict[str, list[Any]]) -> bool:
    """Whether the last span of each process is there: any of them may write its own first."""
    return "settle" in spans and {each["leg"] for each in spans.get("report", ())} == {"legacy", "celery"}


def is_told_by_the_second_executor(spans: dict[str, list[Any]]) -> bool:
    """The same, once a run has succeeded: the worker may have reported a fault before that."""
    runs, attempts = on("celery", spans.get("sandbox run", [])), on("celery", spans.get("attempt", []))
    return is_told_by_all(spans) and bool(runs) and attempts[-1]["status"] == "ok"


def claimed_by(home: CommandLine, evaluation_id: str, leg: Any) -> str:
    """Which worker has the first run of an evaluation in hand, once one has."""
    with redis.Redis.from_url(home.state().redis_url) as client:
        holder = eventually(lambda: client.get(claim_key(f"{evaluation_id}.0", leg)))
    return str(holder.decode().partition(":")[0])


def time_to_reach_it(home: CommandLine, executor: str) -> None:
    """Returns once an executor runs something."""
    url = home.service(executor).url
    eventually(lambda: httpx.get(f"{url}/health", timeout=60).json()["queue"]["running"])


def figures(client: httpx.Client) -> str:
    """What the API exposes, once no part of it is left out for having been slow."""

    def whole() -> str:
        page = client.get("/metrics").text
        said = [line for line in page.splitlines() if line.startswith("crucible_part_unanswered{")]
        return page if all(line.endswith(" 0.0") for line in said) else ""

    return eventually(whole)


def test_one_trace_holds_spans_of_all_processes_on_both_legs(calm: dict[str, Any]) -> None:
    spans = by_name(calm)
    services = {each["service"] for each in calm["spans"]}
    legacy_workers = services & {"legacy-worker-1", "legacy-worker-2"}
    legacy_executors = services & {"executor-1", "executor-2"}
    assert len(legacy_workers) == len(legacy_executors) == 1
    assert services - legacy_workers - legacy_executors == {"api", "celery-worker", "executor-3"}
    for name in ON_BOTH_LEGS:
        assert sorted(each["leg"] for each in spans[name]) == ["celery", "legacy"], name
    for name in ("submit", "evaluate", "compare", "settle"):
        assert [each["leg"] for each in spans[name]] == [None], name
    assert {each["status"] for each in calm["spans"]} == {"ok"}


def test_the_spans_are_one_tree_by_the_order_of_their_start(calm: dict[str, Any]) -> None:
    spans = calm["spans"]
    known = {each["span_id"] for each in spans}
    assert [each["name"] for each in spans if each["parent_id"] not in known] == ["submit"]
    # As moments: RFC 3339 leaves a fraction of nothing out, and texts of two lengths sort otherwise.
    begun = [datetime.fromisoformat(each["started_at"]) for each in spans]
    assert begun == sorted(begun)
    assert all(each["duration_s"] >= 0 for each in spans)


def test_an_executor_that_dies_and_comes_back_is_seen_as_another_attempt_in_the_same_trace(
    retried: dict[str, Any],
) -> None:
    spans = by_name(retried)
    attempts = on("celery", spans["attempt"])
    assert len(attempts) >= 2
    assert attempts[0]["status"] != "ok"
    assert attempts[-1]["status"] == "ok"
    # There is a second one when the executor came back too late for the first.
    executes = on("celery", spans["execute"])
    assert "tried again" in {each["name"] for execute in executes for each in execute["events"]}
    assert on("celery", spans["sandbox run"])[-1]["service"] == "executor-3"
    assert len(spans["submit"]) == len(spans["settle"]) == 1


def test_a_lease_that_was_reaped_goes_on_in_the_same_trace_and_links_to_what_it_repeats(
    home: CommandLine, client: httpx.Client
) -> None:
    new_id = client.post("/evaluations", json=program(_SLOW)).json()["id"]
    worker = claimed_by(home, new_id, "legacy")
    eventually(
        lambda: on("legacy", by_name(client.get(f"/evaluations/{new_id}/trace").json()).get("claim", []))
    )
    os.kill(home.pid_of(worker), signal.SIGKILL)
    settled(client, new_id)
    trace = traced(client, new_id, is_told_by_all)
    spans = by_name(trace)
    first, again = on("legacy", spans["claim"])[:2]
    assert first["service"] == worker
    assert [(each["span_id"], each["why"]) for each in again["links"]] == [
        (first["span_id"], "claimed again")
    ]
    assert {each["service"] for each in on("legacy", spans["report"])} == {again["service"]}
    assert on("celery", spans["sandbox run"])


def test_every_process_exports_the_same_trace_elsewhere(calm: dict[str, Any], collector: Collector) -> None:
    services = {each["service"] for each in calm["spans"]}
    ids = {each["span_id"] for each in calm["spans"]}
    eventually(lambda: {each.span_id for each in collector.of(calm["trace_id"])} >= ids)
    found = collector.of(calm["trace_id"])
    assert {each.span_id for each in found} == ids
    assert {each.service for each in found} == services


def test_all_processes_log_under_the_trace_and_nobody_logs_a_secret(
    calm: dict[str, Any], home: CommandLine, stack: StackState
) -> None:
    logs = {path.stem: path.read_text() for path in (home.home / "logs").glob("*.log")}
    lines = [json.loads(line) for text in logs.values() for line in text.splitlines() if line.startswith("{")]
    ours = [each for each in lines if each.get("trace_id") == calm["trace_id"]]
    assert {each["service"] for each in ours} == {each["service"] for each in calm["spans"]}
    assert {each["leg"] for each in ours if "worker" in each["service"]} == {"legacy", "celery"}
    assert {each["evaluation"] for each in ours if "evaluation" in each} == {calm["id"]}
    assert {each["level"] for each in ours} == {"info"}
    secrets = [stack.api_key, stack.executor_token, stack.redis_url.split("@")[0].split(":")[-1], _SECRET]
    for name, text in logs.items():
        assert [secret for secret in secrets if secret in text] == [], name
    assert _SECRET not in json.dumps(calm)


def test_the_trace_is_for_those_who_may_read(calm: dict[str, Any], client: httpx.Client) -> None:
    path = f"/evaluations/{calm['id']}/trace"
    stranger = httpx.get(f"{client.base_url}{path}", timeout=60)
    assert stranger.status_code == 401
    unknown = client.get(f"/evaluations/ev-{'0' * 26}/trace")
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/problem+json"


@pytest.mark.usefixtures("calm", "retried")
def test_whatever_alerts_and_the_dashboard_ask_for_is_exposed(
    client: httpx.Client, home: CommandLine, stack: StackState
) -> None:
    eventually(lambda: {each.state for each in home.state().services} == {ServiceState.READY})
    urls = [
        f"{each.url.removesuffix('/metrics')}/metrics"
        for each in stack.services
        if each.url and (each.url.endswith("/metrics") or each.name.startswith("executor"))
    ]
    assert len(urls) == 7
    pages = [figures(client), *(httpx.get(url, timeout=60).text for url in urls)]
    known = exposed(pages)
    for expression in asked_of_prometheus():
        for metric, labels in expression.asks_for():
            assert metric in known, f"{metric} in {expression.text}"
            assert labels <= known[metric], f"{metric} of {expression.text} has {known[metric]}"


def test_metrics_are_for_those_who_may_read(client: httpx.Client) -> None:
    assert httpx.get(f"{client.base_url}/metrics", timeout=60).status_code == 401


def test_an_asker_s_own_trace_is_linked_to_and_not_gone_on_with(client: httpx.Client) -> None:
    asker = f"00-{'c' * 32}-{'d' * 16}-01"
    asked = client.post("/evaluations?wait=60", json=program("print(1)"), headers={"traceparent": asker})
    trace = traced(client, asked.json()["id"], lambda spans: "submit" in spans)
    assert trace["trace_id"] != "c" * 32
    (submit,) = by_name(trace)["submit"]
    assert [(each["trace_id"], each["why"]) for each in submit["links"]] == [("c" * 32, "asked for here")]


def test_the_home_of_a_stack_says_where_workers_show_their_metrics(home: CommandLine) -> None:
    status = home.run("status", "--json").document
    urls = {each["name"]: each["url"] for each in status["services"]}
    for name in ("legacy-worker-1", "legacy-worker-2", "celery-worker", "flows"):
        assert str(urls[name]).endswith("/metrics")
