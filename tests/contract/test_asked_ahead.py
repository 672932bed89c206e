"""What is asked before its flow run begins, on real queues without workers. Prefect has no part in it."""

import asyncio
from pathlib import Path

from crucible.store import sqlite_url
from flows.host import Endpoints, flow_host
from tests.support.leg_fixtures import Servers, servers
from tests.support.queues import waiting_on_celery, waiting_on_legacy
from tests.support.traffic import submitted
from tests.support.waiting import eventually

__all__ = ["servers"]


async def test_what_no_flow_run_took_up_is_not_cancelled(servers: Servers, tmp_path: Path) -> None:
    redis, celery_redis = servers
    endpoints = Endpoints(sqlite_url(tmp_path / "store.db"), redis.url, celery_redis.url)
    legacy, celery = redis.client(), celery_redis.client()

    def waiting() -> tuple[int, int]:
        return waiting_on_legacy(legacy), waiting_on_celery(celery)

    async with flow_host(endpoints) as host:
        ids = await submitted(host.store, 3)
        async with host.asked_ahead(ids) as batch:
            asking = list(batch._asking.values())
            await eventually(lambda: waiting() == (3, 3))
        await asyncio.wait(asking)
        assert await host.cancellations.marked(batch.run_ids) == set()
        assert waiting() == (3, 3)
