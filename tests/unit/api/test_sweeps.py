"""``POST /sweeps`` and the form of the page: what is announced, and what is asked of Prefect."""

from collections.abc import Mapping
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from api.routes import sweeps as sweeps_module
from crucible.errors import StoreError
from tests.support.api import Api
from tests.support.valkey import free_port
from tests.unit.api.test_dashboard_session import OURS, sign_in

FLOW_RUN = "0b0f3f52-90f1-4c1c-a8c9-0c3d3c2f7b7c"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The parameters of each sweep that Prefect, which is played here, was asked for."""
    found: list[Mapping[str, Any]] = []

    async def start(_sweep_id: str, parameters: Mapping[str, Any]) -> str:
        found.append(parameters)
        return FLOW_RUN

    monkeypatch.setattr(sweeps_module, "start_parity_sweep", start)
    return found


async def test_without_prefect_no_sweep_is_started_and_it_is_said_to_be_cancelled(api: Api) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        answer = await api.client.post("/sweeps", json={"limit": 3})
    assert answer.status_code == 503
    (left,) = (await api.client.get("/sweeps")).json()["items"]
    assert left["verdict"] == "cancelled"
    assert left["finished_at"]


async def test_what_the_store_refuses_is_not_asked_of_prefect(
    api: Api, asked: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(api.store, "announce_sweep", full)
    answer = await api.client.post("/sweeps", json={})
    assert answer.status_code == 503
    assert asked == []


async def test_a_sweep_is_announced_and_asked_of_prefect(api: Api, asked: list[Mapping[str, Any]]) -> None:
    state = (await api.client.post("/sweeps", json={"limit": 3, "min_evaluations": 2})).json()
    assert (state["flow_run_id"], state["verdict"]) == (FLOW_RUN, None)
    (parameters,) = asked
    assert (parameters["limit"], parameters["min_evaluations"]) == (3, 2)
    assert (await api.client.get(f"/sweeps/{state['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("order", "corpora"),
    [({}, ["bundled"]), ({"recorded": 5}, ["bundled"]), ({"bundled": False, "recorded": 5}, [])],
)
async def test_what_is_swept_is_what_was_asked_for(
    api: Api, asked: list[Mapping[str, Any]], order: dict[str, Any], corpora: list[str]
) -> None:
    assert (await api.client.post("/sweeps", json=order)).status_code == 202
    (parameters,) = asked
    assert parameters["corpora"] == corpora
    assert parameters["recorded"] == order.get("recorded", 0)


@pytest.mark.parametrize(("form", "enough"), [({}, 50), ({"limit": "7"}, 7), ({"limit": "70"}, 50)])
async def test_a_sweep_from_the_page_needs_as_many_pairs_as_any_other(
    api: Api, asked: list[Mapping[str, Any]], form: dict[str, str], enough: int
) -> None:
    await sign_in(api)
    answer = await api.stranger.post("/dashboard/sweeps", data=form, headers=OURS)
    assert answer.status_code == 303
    assert (await api.stranger.get(answer.headers["location"])).status_code == 200
    assert asked[0]["min_evaluations"] == enough


@pytest.mark.parametrize(
    "body", [{"bundled": False}, {"limit": 0}, {"limit": "3"}, {"recorded": -1}, {"corpus": "x"}, [], 3, None]
)
async def test_what_is_no_order_of_a_sweep_starts_none(api: Api, body: object) -> None:
    answer = await api.client.post("/sweeps", json=body)
    assert answer.status_code == 422
    assert (await api.client.get("/sweeps")).json()["items"] == []
