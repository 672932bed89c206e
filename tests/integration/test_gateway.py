"""The gateway: which server answers which path, who is let through, and what is left out on the way."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from deployments.stack.servers import MAX_BODY_BYTES
from tests.support.gateway import ANYBODY, PASSWORD, READER, Gateway, gateway
from tests.support.waiting import eventually

BEARER = {"Authorization": "Bearer KEY"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway in front of servers that say what they were asked."""
    async with gateway(tmp_path_factory.mktemp("front") / "gateway") as started:
        yield started


@pytest.fixture
def front(running: Gateway) -> Gateway:
    """The gateway, of which nobody has asked anything yet."""
    running.allowed.clear()
    running.go_on.clear()
    return running


async def asked(
    front: Gateway, path: str, headers: dict[str, str] = ANYBODY, method: str = "GET"
) -> dict[str, Any]:
    """What the server behind ``path`` was asked."""
    response = await front.client.request(method, path, headers=headers)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.parametrize(
    ("path", "server", "target"),
    [
        ("/", "api", "/dashboard/"),
        ("/dashboard/evaluations?page=2&of=3", "api", "/dashboard/evaluations?page=2&of=3"),
        ("/api/evaluations?wait=3", "api", "/evaluations?wait=3"),
        ("/health", "api", "/health"),
        ("/prefect/api/flows?a=b", "prefect", "/prefect/api/flows?a=b"),
        ("/prefect/static/flower/a.js", "prefect", "/prefect/static/flower/a.js"),
        ("/flower/static/css/flower.css", "flower", "/flower/static/css/flower.css"),
        ("/flower/task/ev-1.0", "flower", "/flower/task/ev-1.0"),
        ("/favicon.ico", "prefect", "/prefect/ico/favicon.ico"),
        ("/ico/completed.svg", "prefect", "/prefect/ico/completed.svg"),
    ],
)
async def test_each_path_has_its_server(front: Gateway, path: str, server: str, target: str) -> None:
    found = await asked(front, path)
    assert (found["server"], found["target"]) == (server, target)


@pytest.mark.parametrize("path", ["/prefect", "/flower", "/dashboard"])
async def test_what_is_no_folder_leads_to_it(front: Gateway, path: str) -> None:
    response = await front.client.get(path, headers=ANYBODY)
    assert response.is_redirect
    assert response.headers["location"] == f"{path}/"


@pytest.mark.parametrize("path", ["/nothing", "/static/a.css", "/api/dashboard/", "/api/dashboard/allowed"])
async def test_what_is_nobodys_is_not_there(front: Gateway, path: str) -> None:
    assert (await front.client.get(path, headers=ANYBODY)).status_code == 404


@pytest.mark.parametrize(
    "path", ["/dashboard/allowed", "/dashboard//allowed", "/dashboard/%61llowed", "/dashboard/x/../allowed"]
)
async def test_what_only_the_gateway_asks_cannot_be_asked(front: Gateway, path: str) -> None:
    assert (await front.client.get(path, headers=ANYBODY)).status_code == 404
    assert front.allowed == []


@pytest.mark.parametrize(
    "path", ["/", "/dashboard/rollout", "/prefect/api/flows", "/flower/tasks", "/ico/a.svg"]
)
async def test_nobody_comes_in_without_being_let_in(front: Gateway, path: str) -> None:
    response = await front.client.get(path)
    assert response.status_code == 401
    assert "server" not in response.text


@pytest.mark.parametrize(
    "path", ["/dashboard/login", "/dashboard/static/a.css", "/api/evaluations", "/health"]
)
async def test_these_alone_need_nobody_to_be_let_in(front: Gateway, path: str) -> None:
    assert (await asked(front, path, {}))["server"] == "api"
    assert front.allowed == []


@pytest.mark.parametrize(
    ("path", "next_page"),
    [
        ("/prefect/runs", "/prefect/runs"),
        ("/prefect/runs?state=failed&tags=a", "/prefect/runs"),
        ("/", "/"),
        ("//prefect/runs", "/"),
    ],
)
async def test_a_page_leads_to_the_login_and_back(front: Gateway, path: str, next_page: str) -> None:
    url = f"{front.client.base_url}".rstrip("/") + path
    response = await front.client.get(url, headers={"Accept": "text/html,*/*"})
    assert (response.status_code, response.headers["location"]) == (302, f"/dashboard/login?next={next_page}")


async def test_who_is_let_in_is_asked_with_the_path_and_the_method(front: Gateway) -> None:
    await asked(front, "/prefect/api/flows?a=b", {**ANYBODY, **BEARER}, "DELETE")
    [question] = front.allowed
    assert (question["method"], question["x-original-method"]) == ("GET", "DELETE")
    assert question["x-original-uri"] == "/prefect/api/flows?a=b"
    assert (question["authorization"], question["cookie"]) == ("Bearer KEY", "session=anybody")


async def test_who_may_not_is_told_so(front: Gateway) -> None:
    response = await front.client.get("/prefect/runs", headers=READER)
    assert (response.status_code, response.text) == (403, "this key may not do that\n")


async def test_keys_go_to_the_api_alone_and_flower_gets_its_password(front: Gateway) -> None:
    heard = {
        name: (await asked(front, path, {**ANYBODY, **BEARER}))["headers"] for name, path in PATHS.items()
    }
    assert heard["api"]["authorization"] == "Bearer KEY"
    assert "authorization" not in heard["prefect"]
    assert heard["flower"]["authorization"].startswith("Basic ")
    assert PASSWORD not in str(heard)


PATHS = {"api": "/api/evaluations", "prefect": "/prefect/api/flows", "flower": "/flower/tasks"}


async def test_servers_are_told_where_they_were_reached(front: Gateway) -> None:
    heard = (
        await asked(
            front, "/api/evaluations", {"Host": "crucible.example:8443", "X-Forwarded-Proto": "https"}
        )
    )["headers"]
    assert heard["host"] == heard["x-forwarded-host"] == "crucible.example:8443"
    assert heard["x-forwarded-proto"] == "https"
    assert heard["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/prefect/runs", "/flower/tasks"])
async def test_pages_of_others_get_the_headers_they_lack(front: Gateway, path: str) -> None:
    headers = (await front.client.get(path, headers=ANYBODY)).headers
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["server"] == "nginx"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_can_send_nothing(front: Gateway, origin: str) -> None:
    for path in ("/prefect/api/flows", "/dashboard/rollout", "/api/evaluations"):
        response = await front.client.post(path, headers={**ANYBODY, "Origin": origin})
        assert response.status_code == 403
    assert front.allowed == []


async def test_a_page_of_this_origin_can(front: Gateway) -> None:
    own = {"Origin": str(front.client.base_url).rstrip("/")}
    assert (await asked(front, "/prefect/api/flows", {**ANYBODY, **own}, "POST"))["server"] == "prefect"


async def test_what_is_too_large_is_a_problem_document(front: Gateway) -> None:
    fits = await front.client.post("/api/evaluations", content=b"x" * MAX_BODY_BYTES)
    assert fits.json()["bytes"] == MAX_BODY_BYTES
    response = await front.client.post("/api/evaluations", content=b"x" * (MAX_BODY_BYTES + 1))
    assert response.status_code == response.json()["status"] == 413
    assert response.headers["content-type"] == "application/problem+json"


async def test_events_are_passed_on_as_they_come(front: Gateway) -> None:
    async with front.client.stream("GET", "/api/events") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "data: first"
        front.go_on.set()
        assert [line async for line in lines if line] == ["data: second"]


def socket_of(front: Gateway) -> str:
    return f"{front.client.base_url}".replace("http", "ws", 1).rstrip("/") + "/prefect/api/events/out"


async def test_websockets_pass(front: Gateway) -> None:
    async with connect(socket_of(front), additional_headers=ANYBODY) as socket:
        await socket.send("hello")
        assert await socket.recv() == "/prefect/api/events/out heard hello"


async def test_a_page_of_another_origin_gets_no_websocket(front: Gateway) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await connect(socket_of(front), additional_headers=ANYBODY, origin="http://evil.example").__aenter__()


async def test_a_server_that_is_away_is_a_problem_document(tmp_path: Path) -> None:
    async with gateway(tmp_path / "gateway", away=("prefect",)) as front:
        response = await front.client.get("/prefect/runs", headers=ANYBODY)
        assert response.status_code == response.json()["status"] == 502
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_prefect_server_elsewhere_is_led_to(tmp_path: Path) -> None:
    async with gateway(tmp_path / "gateway", "https://prefect.example") as front:
        response = await front.client.get("/prefect/runs", headers=ANYBODY)
        assert (response.status_code, response.headers["location"]) == (302, "https://prefect.example")
        assert (await asked(front, "/flower/tasks"))["server"] == "flower"


async def test_its_log_is_json_and_holds_nothing_that_was_asked_for(front: Gateway) -> None:
    await asked(front, '/api/noted?key=SECRET&q="', BEARER)
    # A request is noted after its answer has gone out.
    await eventually(lambda: '"/api/noted"' in front.log)
    [noted] = [each for each in map(json.loads, front.log.splitlines()) if each["path"] == "/api/noted"]
    assert (noted["method"], noted["status"]) == ("GET", 200)
    assert "SECRET" not in front.log
    assert "KEY" not in front.log
