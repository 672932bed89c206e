"""Requests that do not fit: the right status, a problem document, and nothing stored, however many come."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from api.requests import MAX_BODY_BYTES, MAX_SMALL_BODY_BYTES
from crucible.models.access import Scope
from tests.support.api import KEY, Api

PROGRAM = {"language": "python", "code": "print(1)"}
JSON = {"Content-Type": "application/json"}


class Bad(NamedTuple):
    """A request that does not fit, and what it is answered."""

    status: int
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 (nobody writes into it)


def deep(levels: int) -> bytes:
    return b'{"language": "python", "code": "1", "tags": ' + b"[" * levels + b"]" * levels + b"}"


def post(body: bytes | object, status: int = 422, **headers: str) -> Bad:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Bad(status, "POST", "/evaluations", raw, JSON | named)


BAD = {
    "malformed JSON": post(b'{"language": '),
    "no body": post(b""),
    "not UTF-8": post(b'{"language": "python", "code": "\xff"}'),
    "a lone surrogate": post(b'{"language": "python", "code": "\\ud800"}'),
    "a lone surrogate in a name": post(b'{"language": "python", "code": "", "id": "\\udfff"}'),
    "a NUL in the id": post(PROGRAM | {"id": "a\0b"}),
    "a NUL in a tag": post(PROGRAM | {"tags": ["a", "b\0"]}),
    "a NUL in the tenant": post(PROGRAM | {"tenant": "\0"}),
    "nested a little too deep": post(deep(300)),
    "nested far too deep": post(deep(100_000)),
    "infinity": post(b'{"language": "python", "code": "", "limits": {"wall_s": 1e999}}'),
    "not a number": post(b'{"language": "python", "code": "", "limits": {"wall_s": NaN}}'),
    "a number beyond all bounds": post(
        b'{"language": "python", "code": "", "priority": 1' + b"0" * 5000 + b"}"
    ),
    "an unknown field": post(PROGRAM | {"cod": ""}),
    "an unknown field within": post(PROGRAM | {"limits": {"wall": 1}}),
    "too many": post([PROGRAM] * 1001),
    "none": post([]),
    "form data": post(b"language=python", 422, Content_Type="application/x-www-form-urlencoded"),
    "text": post(json.dumps(PROGRAM).encode(), 415, Content_Type="text/plain"),
    "a type that is none": post(json.dumps(PROGRAM).encode(), 415, Content_Type=";;;"),
    "too large by its own account": post(b"{}", 413, Content_Length=str(MAX_BODY_BYTES + 1)),
    "an unknown parameter": Bad(422, "POST", "/evaluations?await=1", json.dumps(PROGRAM).encode(), JSON),
    "a parameter beyond its range": Bad(422, "POST", "/evaluations?wait=1e9", b"{}", JSON),
    "an unknown parameter of a page": Bad(422, "GET", "/rollout?verbose=1"),
    "a NUL in a parameter": Bad(422, "GET", "/evaluations?name=%00"),
    "a wrong method": Bad(405, "PATCH", "/evaluations"),
    "an invented method": Bad(405, "BREW", "/rollout"),
    "an unknown path": Bad(404, "GET", "/evaluation"),
    "an id of another form": Bad(404, "GET", "/evaluations/%00"),
    "a path that climbs": Bad(404, "GET", "/evaluations/..%2f..%2fetc%2fpasswd"),
    "an action that there is not": Bad(422, "PUT", "/rollout", b'{"action": "explode"}', JSON),
    "an action with a NUL": Bad(422, "PUT", "/rollout", b'{"action": "rollback", "reason": "\\u0000"}', JSON),
    "an action that is too large": Bad(413, "PUT", "/rollout", b" " * (MAX_SMALL_BODY_BYTES + 1), JSON),
    "an action as a form": Bad(
        422, "PUT", "/rollout", b"action=rollback", {"Content-Type": "application/x-www-form-urlencoded"}
    ),
}

NOWHERE = {"a wrong method", "an invented method", "an unknown path", "a path that climbs"}
"""Those that lead to no endpoint, so that there is nobody to ask for a key."""


async def stored(api: Api) -> dict[str, int]:
    """How many rows the tables have into which requests write, and the version of the rollout."""
    async with api.store._database.read() as connection:
        found = {
            table: int((await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608
            for table in ("evaluations", "evaluation_tags", "sweeps", "requests", "api_keys")
        }
    return found | {"version": (await api.store.rollout.state()).version}


async def sent(client: httpx.AsyncClient, bad: Bad) -> httpx.Response:
    return await client.request(bad.method, bad.path, content=bad.body, headers=bad.headers)


def is_problem(response: httpx.Response) -> bool:
    document: dict[str, Any] = response.json()
    return (
        response.headers["content-type"] == "application/problem+json"
        and {"type", "title", "status", "detail"} <= set(document)
        and document["status"] == response.status_code
    )


@pytest.mark.parametrize("what", BAD)
async def test_it_is_refused_in_order_and_nothing_is_stored(api: Api, what: str) -> None:
    before = await stored(api)
    response = await sent(api.client, BAD[what])
    assert response.status_code == BAD[what].status, response.text
    assert is_problem(response)
    assert len(response.content) < 2000, "what was sent is not sent back in full"
    assert await stored(api) == before


@pytest.mark.parametrize("what", BAD)
async def test_strangers_learn_nothing_of_what_is_wrong_with_it(api: Api, what: str) -> None:
    response = await sent(api.stranger, BAD[what])
    assert response.status_code == (BAD[what].status if what in NOWHERE else 401)
    assert is_problem(response)


def test_there_is_a_case_for_each_status() -> None:
    assert {each.status for each in BAD.values()} == {404, 405, 413, 415, 422}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/evaluations", "GET, POST"), (f"/evaluations/ev-{'0' * 26}", "DELETE, GET"), ("/rollout", "GET, PUT")],
)
async def test_a_wrong_method_is_told_all_that_are_right(api: Api, path: str, allowed: str) -> None:
    assert (await api.client.patch(path)).headers["allow"] == allowed


async def test_a_media_type_of_json_may_be_written_in_many_ways(api: Api) -> None:
    for named in ("application/json", "Application/JSON; charset=utf-8", "application/vnd.me+json", None):
        headers = {} if named is None else {"Content-Type": named}
        response = await api.client.post("/evaluations", content=json.dumps(PROGRAM), headers=headers)
        assert response.status_code == 202, named


async def test_what_is_sent_is_not_read_before_it_is_known_who_sends_it(api: Api) -> None:
    _, text = await api.new_key(Scope.READ)

    async def body() -> Any:
        pytest.fail("it was read")
        yield b""

    for client, status in ((api.stranger, 401), (api.holder(text), 403)):
        for method, path in (("POST", "/evaluations"), ("PUT", "/rollout"), ("POST", "/sweeps")):
            response = await client.request(method, path, content=body(), headers=JSON)
            assert response.status_code == status


async def test_a_thousand_bad_requests_at_once_leave_everything_in_order(api: Api) -> None:
    before = await stored(api)
    _, poor = await api.new_key(Scope.READ)
    before["api_keys"] += 1
    everybody = (api.client, api.stranger, api.holder("a guess"), api.holder(poor))

    def thousand() -> Iterator[tuple[httpx.AsyncClient, Bad]]:
        for number in range(1000):
            yield everybody[number % 4], list(BAD.values())[number // 4 % len(BAD)]

    responses = await asyncio.gather(*(sent(client, bad) for client, bad in thousand()))
    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) <= {401, 403, 404, 405, 413, 415, 422, 429}, statuses
    for (client, bad), response in zip(thousand(), responses, strict=True):
        assert is_problem(response)
        if client is api.client:
            assert response.status_code == bad.status
    assert await stored(api) == before

    good = await api.client.post("/evaluations", params={"wait": 30}, json=PROGRAM)
    assert (good.status_code, good.json()["classification"]) == (200, "match")
    assert (await api.stranger.get("/health")).json() == {"status": "ok"}


async def test_no_key_is_ever_logged_or_sent_back(
    api: Api, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    key, text = await api.new_key(Scope.READ)
    secrets = (KEY, text, "a-guess-of-a-stranger")
    answers = []
    for secret in secrets:
        client = api.holder(secret)
        for bad in BAD.values():
            response = await sent(client, bad)
            answers.append(response.text + str(response.headers))
        for path in (f"/{secret}", f"/evaluations/{secret}", f"/rollout?key={secret}"):
            await client.get(path)
        await client.get("/ready")
    api.batcher.put = None  # type: ignore[assignment,method-assign]  # a defect
    answers.append((await api.client.post("/evaluations", json=PROGRAM)).text)
    logged = capsys.readouterr()
    said = " ".join([*answers, logged.out, logged.err, caplog.text])
    assert [secret for secret in secrets if secret in said] == []
    assert key.id in said or "wrong" in said, "something was said at all"
