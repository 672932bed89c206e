"""A request with an Idempotency-Key can be sent again: it submits nothing new."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api.idempotency import Repeats
from crucible.models.access import Scope
from tasks.background import BackgroundServices
from tests.support.api import Api
from tests.support.ledger import comparison
from tests.support.waiting import eventually

PROGRAM = {"id": "once", "language": "python", "code": "print(1)"}
HEADERS = {"Idempotency-Key": "night-2026-11-23"}


async def submitted(api: Api) -> int:
    """How many evaluations the ledger has."""
    async with api.store._database.read() as connection:
        found = await connection.exec_driver_sql("SELECT count(*) FROM evaluations")
        return int(found.scalar_one())


async def test_the_same_request_again_gets_the_same_evaluation_as_it_stands(api: Api) -> None:
    api.flows.go.clear()
    first = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (202, False)

    again = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]

    api.flows.go.set()
    settled = await api.client.post("/evaluations", params={"wait": 30}, json=PROGRAM, headers=HEADERS)
    assert (settled.status_code, settled.json()["classification"]) == (200, "match")
    assert settled.json()["id"] == first.json()["id"]
    assert await submitted(api) == 1
    assert sum(map(len, api.flows.batches)) == 1


async def test_what_another_process_compares_is_seen_in_the_ledger_while_one_waits(api: Api) -> None:
    api.flows.go.clear()
    first = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    again = asyncio.create_task(
        api.client.post("/evaluations", params={"wait": 300}, json=PROGRAM, headers=HEADERS)
    )
    await api.store.settle([comparison(first.json()["id"], name="once")])
    async with asyncio.timeout(60):
        assert (await again).json()["classification"] == "match"


async def test_a_list_comes_back_as_a_list_in_its_order(api: Api) -> None:
    programs = [PROGRAM | {"id": f"number {number}"} for number in range(5)]
    first = await api.client.post("/evaluations", json=programs, headers=HEADERS)
    again = await api.client.post("/evaluations", params={"wait": 30}, json=programs, headers=HEADERS)
    assert [state["id"] for state in again.json()] == [state["id"] for state in first.json()]
    assert again.status_code == 200


async def test_the_same_key_with_another_body_is_refused_and_nothing_is_submitted(api: Api) -> None:
    await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    for body in (PROGRAM | {"code": "print(2)"}, [PROGRAM]):
        response = await api.client.post("/evaluations", json=body, headers=HEADERS)
        assert response.status_code == 422
        assert "came with another body" in response.json()["detail"]
    assert await submitted(api) == 1


async def test_of_many_at_once_one_submits_and_the_others_get_its_evaluation(api: Api) -> None:
    posts = [
        api.client.post("/evaluations", params={"wait": 30}, json=PROGRAM, headers=HEADERS) for _ in range(20)
    ]
    responses = await asyncio.gather(*posts)
    assert len({response.json()["id"] for response in responses}) == 1
    assert {response.status_code for response in responses} == {200}
    assert sum("idempotency-replayed" in response.headers for response in responses) == 19
    assert await submitted(api) == 1
    assert api.batcher.waiting == 0, "the places of the others are free again"


async def test_all_who_wait_for_the_same_evaluation_are_answered(api: Api) -> None:
    api.flows.go.clear()
    waiting = [
        asyncio.create_task(
            api.client.post("/evaluations", params={"wait": 60}, json=PROGRAM, headers=HEADERS)
        )
        for _ in range(3)
    ]
    await eventually(lambda: bool(api.flows.batches))
    api.flows.go.set()
    assert [(await each).json()["classification"] for each in waiting] == ["match"] * 3


async def test_what_was_refused_may_be_mended_under_the_same_key(api: Api) -> None:
    wrong = await api.client.post("/evaluations", json=PROGRAM | {"language": "cobol"}, headers=HEADERS)
    assert wrong.status_code == 422
    mended = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert (mended.status_code, "idempotency-replayed" in mended.headers) == (202, False)


async def test_keys_of_different_senders_are_different(api: Api) -> None:
    _, text = await api.new_key(Scope.SUBMIT)
    mine = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    theirs = await api.holder(text).post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_repetition_is_answered_although_no_executor_can_be_asked(api: Api) -> None:
    first = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    api.desk._languages = None  # type: ignore[assignment]
    again = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "ümlaut", "tab\there"])
async def test_a_key_that_does_not_fit_is_refused(api: Api, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    response = await api.client.post("/evaluations", json=PROGRAM, headers=headers)
    assert (response.status_code, response.json()["key"]) == (422, "Idempotency-Key")
    assert await submitted(api) == 0


async def test_what_is_older_than_is_kept_is_submitted_anew_and_forgotten_in_the_background(api: Api) -> None:
    first = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    async with api.store._database.write() as connection:
        await connection.exec_driver_sql("UPDATE requests SET at = ?", (two_days_ago,))
    anew = await api.client.post("/evaluations", json=PROGRAM, headers=HEADERS)
    assert anew.json()["id"] != first.json()["id"]

    async with api.store._database.write() as connection:
        await connection.exec_driver_sql("UPDATE requests SET at = ?", (two_days_ago,))
    background = BackgroundServices()
    Repeats(api.store.requests, kept_h=24).open(background)
    async with asyncio.timeout(30):
        while await kept(api):  # noqa: ASYNC110 (what is waited for happens in the store)
            await asyncio.sleep(0.01)
    await background.aclose()


async def kept(api: Api) -> int:
    async with api.store._database.read() as connection:
        return int((await connection.exec_driver_sql("SELECT count(*) FROM requests")).scalar_one())
