"""What each request is answered, with everything behind the API but the flows."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from api.requests import MAX_BODY_BYTES
from flows.batching import MOST_WAITING
from tests.support.api import KEY, Api
from tests.support.ledger import comparison, evaluation, sweep_of
from tests.support.waiting import eventually

PROGRAM = {"id": "prints/one", "language": "python", "code": "print(1)"}
UNKNOWN_ID = f"ev-{'0' * 26}"


def problem_of(response: httpx.Response, status: int) -> dict[str, object]:
    """The problem document; whatever the error, it has the standard members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = response.json()
    assert {"type", "title", "status", "detail"} <= set(document)
    assert document["status"] == status
    return document


async def test_a_posted_evaluation_is_in_the_ledger_when_it_is_accepted(api: Api) -> None:
    api.flows.go.clear()
    response = await api.client.post("/evaluations", json=PROGRAM)
    assert response.status_code == 202
    state = response.json()
    assert (state["name"], state["status"]) == ("prints/one", "submitted")
    assert state["links"]["self"] == response.headers["location"] == f"/evaluations/{state['id']}"
    assert (await api.store.load([state["id"]]))[0][1] == evaluation(code="print(1)")


async def test_whoever_waits_gets_the_comparison(api: Api) -> None:
    response = await api.client.post("/evaluations", params={"wait": 30}, json=PROGRAM)
    assert response.status_code == 200
    state = response.json()
    assert (state["status"], state["classification"]) == ("settled", "match")
    assert state["comparison"]["legacy"]["stdout_b64"] == "MQo="
    assert state["flow_run_ids"] == ["flow-run-1"]
    assert state["links"]["flow_run"] == "http://prefect/runs/flow-run/flow-run-1"
    assert (await api.client.get(state["links"]["self"])).json() == state


async def test_whoever_waits_too_short_is_answered_as_it_stands(api: Api) -> None:
    api.flows.go.clear()
    response = await api.client.post("/evaluations", params={"wait": 0.05}, json=PROGRAM)
    assert (response.status_code, response.json()["status"]) == (202, "submitted")


async def test_a_flow_that_fails_leaves_the_evaluation_submitted_and_hangs_nobody(api: Api) -> None:
    api.flows.fault = ConnectionError("no Prefect")
    response = await api.client.post("/evaluations", params={"wait": 0.2}, json=PROGRAM)
    assert response.status_code == 202
    assert (await api.client.get(response.headers["location"])).json()["status"] == "submitted"
    api.flows.fault = None
    assert (await api.client.post("/evaluations?wait=30", json=PROGRAM)).status_code == 200


async def test_an_evaluation_under_way_links_to_its_flow_run(api: Api) -> None:
    api.flows.go.clear()
    evaluation_id = (await api.client.post("/evaluations", json=PROGRAM)).json()["id"]
    await eventually(lambda: api.batcher.flow_run_id(evaluation_id) is not None)
    state = (await api.client.get(f"/evaluations/{evaluation_id}")).json()
    assert state["flow_run_ids"] == ["run-1"]
    assert state["links"]["flow_run"] == "http://prefect/runs/flow-run/run-1"


async def test_an_evaluation_without_an_id_is_named_by_the_one_it_gets(api: Api) -> None:
    state = (await api.client.post("/evaluations", json={"language": "python", "code": ""})).json()
    assert state["name"] == state["id"]


async def test_a_list_is_answered_as_a_list_in_its_order(api: Api) -> None:
    programs = [PROGRAM | {"id": f"number {number}"} for number in range(5)]
    response = await api.client.post("/evaluations", params={"wait": 30}, json=programs)
    assert response.status_code == 200
    assert [state["name"] for state in response.json()] == [program["id"] for program in programs]


async def test_a_cancelled_evaluation_is_settled_as_such_and_asking_again_changes_nothing(api: Api) -> None:
    api.flows.go.clear()
    path = (await api.client.post("/evaluations", json=PROGRAM)).headers["location"]
    for _ in range(2):
        response = await api.client.delete(path)
        assert response.status_code == 200
        assert (response.json()["status"], response.json()["classification"]) == ("settled", "cancelled")
    assert (await api.client.get(path)).json() == response.json()


async def test_what_was_settled_before_cannot_be_cancelled(api: Api) -> None:
    state = (await api.client.post("/evaluations", params={"wait": 30}, json=PROGRAM)).json()
    response = await api.client.delete(f"/evaluations/{state['id']}")
    assert (response.status_code, response.json()["classification"]) == (200, "match")


async def test_a_sweep_is_cancelled_where_it_is_open(api: Api) -> None:
    sweep_id, ids = await sweep_of(api.store, ["one", "two", "three"])
    await api.store.settle([comparison(ids[0])])
    counts = (await api.client.delete(f"/sweeps/{sweep_id}")).json()
    assert (counts["submitted"], counts["matched"], counts["cancelled"]) == (3, 1, 2)


@pytest.mark.parametrize("path", [f"/evaluations/{UNKNOWN_ID}", "/evaluations/1", f"/sweeps/sw-{'0' * 26}"])
async def test_what_is_not_there_cannot_be_cancelled(api: Api, path: str) -> None:
    assert path.rpartition("/")[2] in str(problem_of(await api.client.delete(path), 404)["detail"])


async def test_a_stranger_cancels_nothing(api: Api) -> None:
    problem_of(await api.stranger.delete(f"/evaluations/{UNKNOWN_ID}"), 401)
    problem_of(await api.stranger.delete(f"/sweeps/sw-{'0' * 26}"), 401)


async def test_requests_still_waiting_are_answered_when_the_process_must_end(api: Api) -> None:
    api.flows.go.clear()
    waiting = asyncio.create_task(api.client.post("/evaluations", params={"wait": 300}, json=PROGRAM))
    await eventually(lambda: bool(api.flows.batches))
    api.waiters.release()
    assert (await waiting).status_code == 202
    assert (await api.client.post("/evaluations", params={"wait": 300}, json=PROGRAM)).status_code == 202


async def test_evaluations_of_a_sweep_can_be_looked_up_too(api: Api) -> None:
    _, (evaluation_id,) = await sweep_of(api.store, ["of/a-sweep"])
    await api.store.settle([comparison(evaluation_id, name="of/a-sweep")])
    state = (await api.client.get(f"/evaluations/{evaluation_id}")).json()
    assert (state["name"], state["classification"]) == ("of/a-sweep", "match")


@pytest.mark.parametrize(
    "authorization",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Basic " + KEY.encode(), b"\xff\xfe"],
)
@pytest.mark.parametrize("path", ["/evaluations", f"/evaluations/{UNKNOWN_ID}", "/ready"])
async def test_without_the_key_there_is_nothing_but_health(
    api: Api, path: str, authorization: bytes | None
) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization}
    method = "POST" if path == "/evaluations" else "GET"
    response = await api.stranger.request(method, path, headers=headers)
    problem_of(response, 401)
    assert response.headers["www-authenticate"].partition(" ")[0] == "Bearer"
    assert (await api.stranger.get("/health")).json() == {"status": "ok"}


async def test_the_body_of_a_stranger_is_not_even_read(api: Api) -> None:
    problem_of(await api.stranger.post("/evaluations", content=b"x" * (MAX_BODY_BYTES + 1)), 401)


@pytest.mark.parametrize(
    "path", ["/evaluations/ev-1", f"/evaluations/{UNKNOWN_ID}", "/evaluations/%00", "/x"]
)
async def test_what_is_not_there_is_a_problem(api: Api, path: str) -> None:
    problem_of(await api.client.get(path), 404)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_there_are_no_pages_of_documentation_that_load_scripts_from_elsewhere(
    api: Api, path: str
) -> None:
    problem_of(await api.client.get(path), 404)


async def test_a_wrong_method_is_a_problem_that_says_which_is_right(api: Api) -> None:
    response = await api.client.put("/evaluations", json=PROGRAM)
    problem_of(response, 405)
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("wait", ["-1", "301", "nan", "inf", "soon", ""])
async def test_a_wait_out_of_range_is_refused_and_nothing_is_run(api: Api, wait: str) -> None:
    problem = problem_of(await api.client.post(f"/evaluations?wait={wait}", json=PROGRAM), 422)
    assert problem["key"] == "wait"
    assert api.flows.batches == []


async def test_a_language_nobody_runs_is_refused_with_those_there_are(api: Api) -> None:
    problem = problem_of(await api.client.post("/evaluations", json=PROGRAM | {"language": "cobol"}), 422)
    assert problem["key"] == "language"
    assert problem["problem"] == "no executor runs 'cobol' here; they run python"


async def test_a_list_with_one_misfit_is_refused_as_a_whole(api: Api) -> None:
    programs = [PROGRAM, PROGRAM | {"language": "cobol"}]
    problem = problem_of(await api.client.post("/evaluations", json=programs), 422)
    assert problem["number"] == 2
    assert api.flows.batches == []


async def test_a_body_past_the_limit_is_refused_with_the_limit(api: Api) -> None:
    async def without_length() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000
        pytest.fail("it was read far past the limit")

    for content in (b" " * (MAX_BODY_BYTES + 1), without_length()):
        problem = problem_of(await api.client.post("/evaluations", content=content), 413)
        assert str(MAX_BODY_BYTES) in str(problem["detail"])


async def test_a_full_queue_says_when_to_come_back_and_takes_nothing(api: Api) -> None:
    assert api.batcher.reserve(MOST_WAITING)
    response = await api.client.post("/evaluations", json=PROGRAM)
    problem_of(response, 429)
    assert int(response.headers["retry-after"]) > 0
    api.batcher.free(MOST_WAITING)
    assert (await api.client.post("/evaluations?wait=30", json=PROGRAM)).status_code == 200


async def test_a_store_that_refuses_is_a_platform_fault_and_its_places_are_free_again(api: Api) -> None:
    async with api.store._database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE evaluations RENAME TO elsewhere")
    for _ in range(2):
        response = await api.client.post("/evaluations", json=[PROGRAM] * 1000)
        problem_of(response, 503)
        assert "retry-after" in response.headers
    assert api.batcher.reserve(MOST_WAITING)


async def test_readiness_names_what_is_missing(api: Api) -> None:
    problem = problem_of(await api.client.get("/ready"), 503)
    assert isinstance(problem["missing"], dict)
    assert set(problem["missing"]) == {"redis", "celery-redis", "prefect"}


async def test_a_defect_is_a_problem_that_tells_no_secrets(api: Api) -> None:
    api.batcher.put = None  # type: ignore[assignment,method-assign]
    problem = problem_of(await api.client.post("/evaluations", json=PROGRAM), 500)
    assert "NoneType" not in str(problem)
