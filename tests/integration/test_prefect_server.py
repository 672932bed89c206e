"""The Prefect server of the stack: under writers who come at once, and letting old runs go."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from crucible.models import Classification
from crucible.store import sqlite_url
from deployments.stack import StackState
from deployments.stack.environment import DATABASE, prefect_folder
from flows.evaluate import Registrar, evaluated_ahead
from flows.flow_runs import prefect_session
from flows.host import Endpoints, flow_host
from flows.serving import batches, provide_pool
from tests.support.leg_fixtures import Servers, servers
from tests.support.prefect_server import prefect_server
from tests.support.traffic import submitted
from tests.support.waiting import patiently

__all__ = ["servers"]

pytestmark = pytest.mark.stack

AT_ONCE = 60


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[httpx.Client]:
    """A server for itself that lets go what ended two hours ago, and looks for such every half second."""
    settings = {
        "CRUCIBLE_RETENTION_DAYS": str(2 / 24),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "0.5",
    }
    with (
        prefect_server(tmp_path, settings) as url,
        httpx.Client(base_url=f"{url}/", timeout=60) as prefect,
    ):
        yield prefect


def ended(prefect: httpx.Client, tmp_path: Path, ago: timedelta) -> str:
    """The id of a flow run that ended so long ago."""
    flow = prefect.post("flows/", json={"name": "old"}).raise_for_status().json()
    asked = {"flow_id": flow["id"], "state": {"type": "COMPLETED"}}
    run_id: str = prefect.post("flow_runs/", json=asked).raise_for_status().json()["id"]
    when = (datetime.now(UTC) - ago).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(prefect_folder(tmp_path) / DATABASE, timeout=60)) as database, database:
        changed = database.execute("UPDATE flow_run SET end_time = ? WHERE id = ?", (when, run_id))
        assert changed.rowcount == 1
    return run_id


def test_runs_go_when_evaluations_go(forgetful: httpx.Client, tmp_path: Path) -> None:
    kept = ended(forgetful, tmp_path, timedelta(hours=1, minutes=50))
    gone = ended(forgetful, tmp_path, timedelta(hours=2, minutes=10))
    patiently(lambda: forgetful.get(f"flow_runs/{gone}").status_code == httpx.codes.NOT_FOUND)
    assert forgetful.get(f"flow_runs/{kept}").status_code == httpx.codes.OK


async def test_a_deployment_that_is_deleted_is_done_without(forgetful: httpx.Client) -> None:
    address = str(forgetful.base_url).rstrip("/")
    with temporary_settings({PREFECT_API_URL: address}):
        async with get_client() as client:
            await provide_pool(client)
            deployment_id = await (await batches()).aapply()
            registrar = Registrar()
            assert (await registrar.create("one", ["ev-1"])).deployment_id == deployment_id
            await client.delete_deployment(deployment_id)
            assert (await registrar.create("another", ["ev-2"])).deployment_id is None


async def test_what_is_cancelled_in_prefect_before_its_flow_run_begins_is_cancelled(
    forgetful: httpx.Client, servers: Servers, tmp_path: Path
) -> None:
    created: list[str] = []

    def cancel(run_id: str) -> None:
        created.append(run_id)
        asked = {"state": {"type": "CANCELLING"}, "force": True}
        forgetful.post(f"flow_runs/{run_id}/set_state", json=asked).raise_for_status()

    redis, celery_redis = servers
    endpoints = Endpoints(sqlite_url(tmp_path / "store.db"), redis.url, celery_redis.url)
    with temporary_settings({PREFECT_API_URL: str(forgetful.base_url).rstrip("/")}):
        async with prefect_session(), flow_host(endpoints) as host:
            (evaluation_id,) = await submitted(host.store, 1)
            await evaluated_ahead(Registrar(), "one", [evaluation_id], cancel)
            comparison = await host.store.comparison(evaluation_id)
            assert comparison is not None
            assert comparison.classification is Classification.CANCELLED
            async with get_client() as client:
                assert (await client.read_flow_run(UUID(created[0]))).state_type is StateType.CANCELLED


@pytest.mark.stack
async def test_writers_who_come_at_once_wait_for_each_other(stack: StackState) -> None:
    """None is told to come back: Prefect's clients would do so seconds later."""
    async with httpx.AsyncClient(base_url=f"{stack.prefect_api_url}/", timeout=120) as prefect:
        flow = (await prefect.post("flows/", json={"name": "writers"})).raise_for_status().json()
        asked = {"flow_id": flow["id"], "state": {"type": "PENDING"}}
        made = await asyncio.gather(*(prefect.post("flow_runs/", json=asked) for _ in range(AT_ONCE)))
        assert {each.status_code for each in made} == {201}
        over = {"state": {"type": "COMPLETED"}, "force": True}
        ends = [prefect.post(f"flow_runs/{each.json()['id']}/set_state", json=over) for each in made]
        more = [prefect.post("flow_runs/", json=asked) for _ in range(AT_ONCE)]
        answers = await asyncio.gather(*ends, *more)
        assert {each.status_code for each in answers} <= {200, 201}
