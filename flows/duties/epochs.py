"""Notices when builds, rules, limits or policy change, and begins a new epoch then."""

import asyncio
from hashlib import sha256

import orjson
import structlog

from crucible.models import Limits
from crucible.rollout.epoch import ITSELF, EpochKey
from crucible.settings import GateSettings, load
from crucible.store import Store
from executors.client import ExecutorClient
from flows.host import Endpoints
from flows.rules import Rules

_ASK_S = 2.0
_BUILT_OF = ("version", "isolation_level", "memory_limit_mb", "languages", "environment")
"""What an executor says of itself that programs could notice."""


class Epochs:
    """Asks the executors what they are made of, those of legacy and that of Celery, and keeps the epoch.

    While one does not answer the epoch stays: that something is away is no new build.
    """

    def __init__(self, store: Store, rules: Rules, endpoints: Endpoints) -> None:
        self._store = store
        self._rules = rules
        self._policy = load(GateSettings)
        *self._legacy, self._celery = (
            ExecutorClient([url], endpoints.executor_token, _ASK_S, 1) for url in endpoints.executor_urls
        )

    def close(self) -> None:
        """Close the connections to the executors."""
        for client in (*self._legacy, self._celery):
            client.close()

    async def round(self) -> None:
        """Open a new epoch if anything has changed; raises ``PlatformError`` when an executor is away."""
        legacy = await asyncio.gather(*(asyncio.to_thread(_build, each) for each in self._legacy))
        celery = await asyncio.to_thread(_build, self._celery)
        present = (await self._store.rollout.epoch()).key
        key = EpochKey(
            legacy_build="+".join(sorted(set(legacy))),
            celery_build=celery,
            rules=self._rules.today(),
            limits=Limits(),
            policy=self._policy,
            generation=present.generation,
        )
        change = await self._store.rollout.open_epoch(key, ITSELF)
        if change is not None:
            structlog.get_logger().info(
                "epoch opened", epoch=change.after.epoch, stage=change.after.stage.value
            )


def _build(client: ExecutorClient) -> str:
    """Sixteen hexadecimal digits that change with what an executor is made of."""
    health = client.health()
    made_of = {name: health.get(name) for name in _BUILT_OF}
    return sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
