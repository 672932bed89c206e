"""Whom the API lets in: keys from the store, their scopes, their end, and what strangers are told."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import httpx
import pytest
from pydantic import SecretStr

from api.guard import KEPT_S, STACK_KEY_ID, Keyring
from api.problems import Problem
from crucible.models.access import Scope, digest_of, key_id_in, new_key_text
from crucible.settings import ApiSettings
from crucible.store import Store
from tests.support.api import KEY, Api
from tests.support.stub_executor import TOKEN

PROGRAM = {"language": "python", "code": "print(1)"}
UNKNOWN_ID = f"ev-{'0' * 26}"
WANTED = [
    ("POST", "/evaluations", Scope.SUBMIT),
    ("GET", f"/evaluations/{UNKNOWN_ID}", Scope.READ),
    ("GET", "/evaluations", Scope.READ),
    ("GET", "/openapi.json", Scope.READ),
    ("GET", "/ready", Scope.READ),
    ("GET", "/rollout", Scope.READ),
    ("DELETE", f"/evaluations/{UNKNOWN_ID}", Scope.OPERATE),
    ("DELETE", f"/sweeps/sw-{'0' * 26}", Scope.OPERATE),
    ("PUT", "/rollout", Scope.OPERATE),
    ("POST", "/v1/traces", Scope.TRACES),
]


class Clock:
    """A clock that stands still unless told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def others(scope: Scope) -> Iterable[Scope]:
    return [each for each in Scope if each not in {scope, Scope.ADMIN}]


@pytest.mark.parametrize(("method", "path", "scope"), WANTED)
async def test_each_endpoint_asks_for_one_scope_and_names_it(
    api: Api, method: str, path: str, scope: Scope
) -> None:
    _, text = await api.new_key(*others(scope))
    response = await api.holder(text).request(method, path)
    assert response.status_code == 403
    assert response.json()["scope"] == scope
    assert scope in response.json()["detail"]
    assert response.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


@pytest.mark.parametrize("scope_of_key", ["the one", Scope.ADMIN])
@pytest.mark.parametrize(("method", "path", "scope"), WANTED)
async def test_whoever_has_the_scope_or_admin_comes_in(
    api: Api, method: str, path: str, scope: Scope, scope_of_key: str
) -> None:
    _, text = await api.new_key(Scope.ADMIN if scope_of_key == Scope.ADMIN else scope)
    assert (await api.holder(text).request(method, path)).status_code not in {401, 403}


async def test_a_key_that_only_submits_gets_its_answer_and_no_more(api: Api) -> None:
    _, text = await api.new_key(Scope.SUBMIT)
    holder = api.holder(text)
    state = (await holder.post("/evaluations", params={"wait": 30}, json=PROGRAM)).json()
    assert state["classification"] == "match"
    assert (await holder.get(state["links"]["self"])).status_code == 403


async def test_strangers_cannot_tell_an_unknown_key_from_a_wrong_one(api: Api) -> None:
    key, _ = await api.new_key(Scope.READ)
    answers = {
        (response.status_code, response.text, response.headers["www-authenticate"])
        for text in (
            new_key_text(key.id),  # the id is right
            new_key_text("key-00000000000000000000000000"),
            "crk__",
            "anything",
            f"{KEY}x",
        )
        for response in [await api.holder(text).get("/rollout")]
    }
    assert len(answers) == 1
    [(status, body, challenge)] = answers
    assert (status, challenge) == (401, 'Bearer error="invalid_token"')
    assert key.id not in body


async def test_whoever_shows_no_key_is_only_told_to(api: Api) -> None:
    for authorization in (None, "", "Bearer", "Bearer  ", "Basic a2V5", "bearer"):
        headers = {} if authorization is None else {"Authorization": authorization}
        response = await api.stranger.get("/rollout", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_the_scheme_may_be_written_in_any_case(api: Api) -> None:
    _, text = await api.new_key(Scope.READ)
    response = await api.stranger.get("/rollout", headers={"Authorization": f"bEARER {text}"})
    assert response.status_code == 200


async def test_an_expired_key_opens_nothing_and_its_holder_is_told(api: Api) -> None:
    key, text = await api.new_key(Scope.ADMIN, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    response = await api.holder(text).get("/rollout")
    assert response.status_code == 401
    assert f"{key.id} has expired" in response.json()["detail"]
    wrong = await api.holder(new_key_text(key.id)).get("/rollout")
    assert "expired" not in wrong.text, "nobody else is told"


async def test_a_key_that_ends_while_it_is_kept_ends_nevertheless(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=1)

    class AtTheEnd(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(ends_at.timestamp() + 1, tz)

    monkeypatch.setattr("api.guard.KEPT_S", 3600)
    _, text = await api.new_key(Scope.READ, expires_at=ends_at)
    holder = api.holder(text)
    assert (await holder.get("/rollout")).status_code == 200
    monkeypatch.setattr("api.guard.datetime", AtTheEnd)
    response = await holder.get("/rollout")
    assert response.status_code == 401
    assert "expired" in response.json()["detail"]


async def test_a_revoked_key_opens_nothing_once_what_is_kept_is_old(store: Store) -> None:
    clock = Clock()
    keyring = Keyring(SecretStr(KEY), TOKEN, store.keys, clock)
    api_key, text = await Api.make_key(store, Scope.READ)
    assert (await keyring.by_secret(text)).key_id == api_key.id
    await store.keys.revoke(api_key.id)
    assert (await keyring.by_id(api_key.id)).allows(Scope.READ), "it is kept so that the store has rest"
    clock.now += KEPT_S
    for asked in (keyring.by_secret(text), keyring.by_id(api_key.id)):
        with pytest.raises(Problem, match="was revoked"):
            await asked


async def test_the_store_is_asked_once_for_many_requests(store: Store) -> None:
    keyring = Keyring(SecretStr(KEY), TOKEN, store.keys, Clock())
    _, text = await Api.make_key(store, Scope.READ)
    await keyring.by_secret(text)
    async with store._database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE api_keys")
    assert (await keyring.by_secret(text)).allows(Scope.READ)


async def test_the_stack_s_own_key_needs_no_store_and_has_every_scope(api: Api) -> None:
    async with api.store._database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE api_keys")
    assert (await api.client.get("/rollout")).status_code == 200
    keyring = Keyring(SecretStr(KEY), TOKEN, api.store.keys)
    assert (await keyring.by_id(STACK_KEY_ID)).scopes == frozenset(Scope)
    other = await api.holder(new_key_text("key-00000000000000000000000000")).get("/rollout")
    assert other.status_code == 503, "nobody is let in because the store is away"


@pytest.mark.usefixtures("still_minute")
async def test_an_address_that_shows_many_wrong_keys_is_no_longer_heard(api: Api) -> None:
    _, known = await api.new_key(Scope.READ)
    _, unseen = await api.new_key(Scope.READ)
    assert (await api.holder(known).get("/rollout")).status_code == 200

    guesser = api.holder("a guess")
    statuses = [(await guesser.get("/rollout")).status_code for _ in range(70)]
    most = ApiSettings().wrong_keys_per_minute
    assert statuses == [401] * most + [429] * (70 - most)

    late = await api.holder(unseen).get("/rollout")
    assert late.status_code == 429, "a key unseen so far might be one more guess"
    assert int(late.headers["retry-after"]) >= 1
    assert (await api.holder(known).get("/rollout")).status_code == 200, "who was known before comes in"
    assert (await api.client.get("/rollout")).status_code == 200


async def test_other_addresses_are_still_heard(api: Api) -> None:
    _, text = await api.new_key(Scope.READ)
    for _ in range(ApiSettings().wrong_keys_per_minute + 1):
        await api.holder("a guess").get("/rollout")
    elsewhere = httpx.ASGITransport(api.app, client=("192.0.2.7", 5))
    headers = {"Authorization": f"Bearer {text}"}
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://api", headers=headers) as client:
        assert (await client.get("/rollout")).status_code == 200


def test_the_text_of_a_key_names_its_id_and_holds_256_bits_of_chance() -> None:
    text = new_key_text("key-01M831SXSTJFKD4XYZEGEAH0PX")
    assert key_id_in(text) == "key-01M831SXSTJFKD4XYZEGEAH0PX"
    prefix, number, secret = text.split("_", 2)
    assert (prefix, number, len(secret)) == ("crk", "01M831SXSTJFKD4XYZEGEAH0PX", 43)
    assert len({new_key_text("key-1") for _ in range(100)}) == 100
    assert len(digest_of(text)) == 64


@pytest.mark.parametrize(
    "text", ["", "crk", "crk_1", "crk_1_", "crk__x", "CRK_1_x", "crk_ü_x", "crk_1\0_x", "x" * 10**6]
)
def test_what_has_another_form_names_no_key(text: str) -> None:
    assert key_id_in(text) is None
