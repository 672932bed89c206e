"""Sweeps that were announced, and how they end that do not come to a verdict. Real servers and a real store.

The flows' own functions: Prefect, which nothing here runs, has no part in that.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from crucible.ids import new_sweep_id
from crucible.store import sqlite_url
from flows import sweep as parity_module
from flows.host import Endpoints, FlowHost, cancel_sweep, flow_host
from flows.outcome import SweepRequest
from flows.sweep import parity_sweep, sweep
from tests.support.corpora import prints, write_corpus
from tests.support.leg_fixtures import Servers, servers

__all__ = ["servers"]

NOWHERE = "http://127.0.0.1:9"
NEEDED = (
    *("EXECUTOR_1_URL", "EXECUTOR_2_URL", "EXECUTOR_3_URL", "EXECUTOR_TOKEN"),
    *("DATABASE_URL", "REDIS_URL", "CELERY_REDIS_URL", "PREFECT_API_URL"),
)
"""Settings without which no sweep is begun."""


@pytest.fixture
async def host(servers: Servers, tmp_path: Path) -> AsyncIterator[FlowHost]:
    """A flow host; there are neither workers nor executors."""
    redis, celery_redis = servers
    endpoints = Endpoints(sqlite_url(tmp_path / "store.db"), redis.url, celery_redis.url)
    async with flow_host(endpoints) as opened:
        yield opened


async def announced(host: FlowHost) -> str:
    sweep_id = new_sweep_id()
    await host.store.announce_sweep(sweep_id, {})
    return sweep_id


async def verdict_of(host: FlowHost, sweep_id: str) -> str | None:
    found = await host.store.listing.sweep(sweep_id)
    assert found is not None
    assert (found.verdict is None) == (found.finished_at is None)
    return found.verdict


async def test_a_sweep_that_is_cancelled_before_its_turn_runs_nothing(host: FlowHost, tmp_path: Path) -> None:
    sweep_id = await announced(host)
    await cancel_sweep(host, sweep_id)
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(3))

    state = await sweep.fn(sweep_id, SweepRequest(corpora=(corpus,), languages={"python": "3"}))

    assert state.is_cancelled()
    assert (await host.store.counts(sweep_id)).submitted == 0
    assert await verdict_of(host, sweep_id) == "cancelled"


async def test_a_sweep_of_nothing_has_an_end(host: FlowHost, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_id = await announced(host)
    for name in NEEDED:
        monkeypatch.setenv(f"CRUCIBLE_{name}", NOWHERE)
    monkeypatch.setattr(parity_module, "announced_sweep_id", lambda _tags: sweep_id)

    with temporary_settings({PREFECT_API_URL: NOWHERE}):
        state = await parity_sweep.fn(corpora=())

    assert state.is_failed()
    assert await verdict_of(host, sweep_id) == "not swept"
