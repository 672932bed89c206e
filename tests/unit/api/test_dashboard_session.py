"""Sessions of the dashboard: what a cookie opens, and whose requests change nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.dashboard.mount import create_dashboard
from api.dashboard.session import COOKIE, local
from api.requests import MAX_SMALL_BODY_BYTES
from crucible.ids import new_evaluation_id, new_key_id, new_sweep_id
from crucible.models.access import ApiKey, Scope, new_key_text
from tests.support.api import KEY, Api

OURS = {"sec-fetch-site": "same-origin"}
PAGES = (
    *("/dashboard/", "/dashboard/evaluations", "/dashboard/evaluations/new", "/dashboard/sweeps"),
    *(
        "/dashboard/rollout",
        "/dashboard/causes",
        "/dashboard/parts",
        "/dashboard/evaluations/ev-01K5X8M3Q7C2T9V4N6B8D0F1G2",
    ),
)


OPEN = ("/login", "/logout", "/allowed", "/static/{name}")


async def sign_in(api: Api, key: str = KEY) -> None:
    """The stranger has a session from now on."""
    answer = await api.stranger.post("/dashboard/login", data={"key": key}, headers=OURS)
    assert answer.status_code == 303, answer.text


async def key_with(api: Api, *scopes: Scope) -> str:
    """The text of a new key."""
    return (await new_key(api, *scopes))[1]


async def new_key(api: Api, *scopes: Scope) -> tuple[str, str]:
    """Id and text of a new key."""
    key_id = new_key_id()
    text = new_key_text(key_id)
    made = ApiKey(id=key_id, name="somebody", scopes=frozenset(scopes), created_at=datetime.now(UTC))
    await api.store.keys.add(made, text)
    return key_id, text


@pytest.mark.parametrize("page", PAGES)
async def test_a_stranger_is_asked_to_sign_in_and_led_back(api: Api, page: str) -> None:
    answer = await api.stranger.get(page, params={"a": "b"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/dashboard/login?next=%2Fdashboard%2F")
    assert answer.headers["location"].endswith("%3Fa%3Db")


async def test_nothing_but_signing_in_is_open_to_strangers(api: Api) -> None:
    asked = [
        (method, route.path_format)
        for route in iter_route_contexts(cast("FastAPI", create_dashboard(api.dashboard)).routes)
        if route.path_format not in {None, *OPEN}
        for method in route.methods or ()
    ]
    assert ("GET", "/events") in asked
    for method, path in asked:
        address = f"/dashboard{path}".format(evaluation_id=new_evaluation_id(), sweep_id=new_sweep_id())
        async with asyncio.timeout(30):  # a stream that is open to him has no end
            answer = await api.stranger.request(method, address, headers=OURS)
        assert (answer.status_code, "login" in answer.headers["location"]) == (303, True), (method, path)


async def test_a_key_opens_every_page(api: Api) -> None:
    await sign_in(api)
    for page in PAGES[:-1]:
        answer = await api.stranger.get(page)
        assert answer.status_code == 200, answer.text
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    assert (await api.stranger.get(PAGES[-1])).status_code == 404


async def test_the_cookie_is_for_no_script_and_for_no_other_site(api: Api) -> None:
    answer = await api.stranger.post("/dashboard/login", data={"key": KEY}, headers=OURS)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie


async def test_a_wrong_key_opens_nothing_and_is_not_repeated(api: Api) -> None:
    answer = await api.stranger.post("/dashboard/login", data={"key": "crk_1_wrong"}, headers=OURS)
    assert answer.status_code == 401
    assert "crk_1_wrong" not in answer.text
    assert (await api.stranger.get("/dashboard/")).status_code == 303


async def test_nobody_makes_the_login_read_more_than_a_key_needs(api: Api) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * MAX_SMALL_BODY_BYTES:
            yield b"k" * 4096
            sent += 4096

    answer = await api.stranger.post("/dashboard/login", content=endless(), headers=OURS)
    assert answer.status_code == 413
    assert sent <= MAX_SMALL_BODY_BYTES


@pytest.mark.parametrize("cookie", ["", "stack.9999999999.0000", "stack", "a.b.c.d", "stack.99999999999.ä"])
async def test_a_cookie_that_nobody_signed_opens_nothing(api: Api, cookie: str) -> None:
    answer = await api.stranger.get("/dashboard/", headers={b"Cookie": f"{COOKIE}={cookie}".encode()})
    assert answer.status_code == 303


async def test_what_is_revoked_opens_nothing_any_more(api: Api) -> None:
    key_id, text = await new_key(api, Scope.READ)
    await sign_in(api, text)
    assert (await api.stranger.get("/dashboard/rollout")).status_code == 200
    await api.store.keys.revoke(key_id)
    api.guard._keyring._kept.clear()  # what is kept for two seconds
    assert (await api.stranger.get("/dashboard/rollout")).status_code == 303


async def test_signed_out_is_signed_out(api: Api) -> None:
    await sign_in(api)
    await api.stranger.post("/dashboard/logout", headers=OURS)
    assert (await api.stranger.get("/dashboard/")).status_code == 303


async def test_who_may_only_read_changes_nothing(api: Api) -> None:
    await sign_in(api, await key_with(api, Scope.READ))
    version = (await api.store.rollout.state()).version
    for path, form in (
        ("/dashboard/rollout", {"action": "rollback", "version": str(version), "reason": "x"}),
        ("/dashboard/evaluations", {"language": "python", "code": "print(1)"}),
        (f"/dashboard/evaluations/{new_evaluation_id()}/cancel", {}),
        ("/dashboard/sweeps", {}),
    ):
        answer = await api.stranger.post(path, data=form, headers=OURS)
        assert answer.status_code == 403, path
    assert (await api.store.rollout.state()).version == version
    assert "data-opens" not in (await api.stranger.get("/dashboard/rollout")).text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {},
    ],
)
async def test_another_site_changes_nothing_with_the_cookie(api: Api, headers: dict[str, str]) -> None:
    await sign_in(api)
    version = (await api.store.rollout.state()).version
    form = {"action": "hold", "version": str(version), "reason": "x"}
    answer = await api.stranger.post("/dashboard/rollout", data=form, headers=headers)
    assert answer.status_code == 403
    assert (await api.store.rollout.state()).version == version
    assert (
        await api.stranger.post("/dashboard/login", data={"key": KEY}, headers=headers)
    ).status_code == 403


@pytest.mark.parametrize(
    ("method", "address", "reader", "operator"),
    [
        ("GET", "/prefect/runs", 204, 204),
        ("POST", "/prefect/api/flow_runs/filter", 204, 204),
        ("POST", "/prefect/api/flow_runs/count?x=1", 204, 204),
        ("POST", "/prefect/api/flow_runs/abc/set_state", 403, 204),
        ("DELETE", "/prefect/api/flow_runs/abc", 403, 204),
        ("POST", "/prefect/api/deployments/abc/create_flow_run", 403, 204),
        ("GET", "/prefect/api/events/out", 204, 204),
        ("GET", "/prefect/api/events/in", 403, 204),
        ("POST", "/flower/api/filter", 403, 204),
        ("GET", "/flower/tasks", 204, 204),
    ],
)
async def test_the_gateway_is_told_who_may_see_and_who_may_change(
    api: Api, method: str, address: str, reader: int, operator: int
) -> None:
    asked = {"x-original-method": method, "x-original-uri": address}
    assert (await api.stranger.get("/dashboard/allowed", headers=asked)).status_code == 401
    for scopes, status in (((Scope.READ,), reader), ((Scope.READ, Scope.OPERATE), operator)):
        api.stranger.cookies.clear()
        key = await key_with(api, *scopes)
        shown = asked | {"authorization": f"Bearer {key}"}
        assert (await api.stranger.get("/dashboard/allowed", headers=shown)).status_code == status
        await sign_in(api, key)
        assert (await api.stranger.get("/dashboard/allowed", headers=asked)).status_code == status
    wrong = asked | {"authorization": "Bearer cru_nobody_nothing"}
    assert (await api.stranger.get("/dashboard/allowed", headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("/dashboard/rollout?a=b", True),
        ("/prefect/runs", True),
        ("//evil.example/", False),
        ("/\\evil.example", False),
        ("https://evil.example/", False),
        ("javascript:alert(1)", False),
        ("/a\r\nset-cookie: x=y", False),
        ("", False),
    ],
)
def test_nobody_is_led_elsewhere(address: str, *, is_ours: bool) -> None:
    assert (local(address) == address) is is_ours
