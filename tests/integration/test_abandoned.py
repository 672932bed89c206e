"""Flow runs whose process is no more, on a real Prefect server and a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from flows.duties.janitor import AbandonedFlowRuns
from flows.evaluate import evaluate
from flows.host import FlowHost, host_tag
from flows.worker import POOL
from tasks.background import BackgroundServices
from tasks.leases import Lease
from tests.support.prefect_server import prefect_server
from tests.support.valkey import Valkey, valkey

pytestmark = pytest.mark.stack

__all__ = ["valkey"]

DEAD = "host-dead"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[None]:
    with prefect_server(tmp_path, {}) as url, temporary_settings({PREFECT_API_URL: url}):
        yield


@pytest.fixture
async def prefect(server: None) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="crucible"))
        yield client


async def begun(prefect: PrefectClient, owner: str) -> UUID:
    """The id of a flow run that ``owner`` has begun."""
    made = await prefect.create_flow_run(
        evaluate,
        parameters={"evaluation_ids": []},
        tags=[host_tag(owner)],
        state=Running(),
        work_pool_name=POOL,
    )
    return made.id


async def state_of(prefect: PrefectClient, flow_run_id: UUID) -> StateType | None:
    return (await prefect.read_flow_run(flow_run_id)).state_type


async def crashed(prefect: PrefectClient, flow_run_id: UUID) -> None:
    """Returns once Prefect shows it so."""
    async with asyncio.timeout(30):
        while await state_of(prefect, flow_run_id) is not StateType.CRASHED:  # noqa: ASYNC110 (a server's)
            await asyncio.sleep(0.05)


async def test_the_flow_runs_of_the_dead_are_crashed_and_no_others(
    prefect: PrefectClient, valkey: Valkey
) -> None:
    own, living = (Lease(valkey.url, f"host-{uuid4().hex}", lease_s=0.4) for _ in range(2))
    for each in (own, living):
        await each.open(BackgroundServices())
    of_dead, ended = await begun(prefect, DEAD), await begun(prefect, DEAD)
    await prefect.set_flow_run_state(ended, Completed(), force=True)
    of_own, of_living = await begun(prefect, own.owner), await begun(prefect, living.owner)

    services = BackgroundServices()
    services.every(0.05, "abandoned", AbandonedFlowRuns(cast("FlowHost", SimpleNamespace(lease=own))).round)
    await crashed(prefect, of_dead)
    # By a later look than that: what the first did besides is done.
    await crashed(prefect, await begun(prefect, DEAD))
    await services.aclose()

    assert await state_of(prefect, ended) is StateType.COMPLETED
    assert await state_of(prefect, of_own) is StateType.RUNNING
    assert await state_of(prefect, of_living) is StateType.RUNNING
    await living.close()
    await own.close()
