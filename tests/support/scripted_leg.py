"""A leg that does what a test says, on a real reply stream."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from crucible.models import Leg, Observation, Outcome
from crucible.settings import FlowSettings
from tasks.background import BackgroundServices
from tasks.cancellation import Cancellations
from tasks.claims import claim_key, done_key
from tasks.dispatch import Dispatch
from tasks.exchange import Exchange
from tasks.replies import ReplyReader
from tests.support.valkey import Valkey

OBSERVED = Observation(outcome=Outcome.OK, exit_code=0)

Script = Callable[["ScriptedLeg", str, int], None]
"""Called with a run id and how often it was sent by now."""


class ScriptedLeg:
    """A leg that does with each run what its script says."""

    def __init__(self, leg: Leg, server: Valkey, stream: str, script: Script) -> None:
        self.leg: Leg = leg
        self.sent: Counter[str] = Counter()
        self.withdrawn: set[str] = set()
        self._redis = server.client()
        self._stream = stream
        self._script = script

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        for dispatch in dispatches:
            self.sent[dispatch.run_id] += 1
            self._script(self, dispatch.run_id, self.sent[dispatch.run_id])

    async def withdraw(self, run_ids: Collection[str]) -> int:
        self.withdrawn.update(run_ids)
        return len(run_ids)

    async def aclose(self) -> None:
        self._redis.close()

    def answer(self, run_id: str, **changes: Any) -> None:
        seen = OBSERVED.model_copy(update=changes)
        self._reply(run_id, {"kind": "answer", "observation": seen.model_dump_json()})

    def fault(self, run_id: str) -> None:
        self._reply(run_id, {"kind": "fault", "fault": "executor-3 is away"})

    def claim(self, run_id: str) -> None:
        self._redis.set(claim_key(run_id, self.leg), "worker", ex=60)

    def note_answered(self, run_id: str, kept: str) -> None:
        """Note that the run was answered; ``kept`` is the answer, empty once its evaluation is settled."""
        self._redis.set(done_key(run_id, self.leg), kept)

    def release(self, run_id: str) -> None:
        self._redis.delete(claim_key(run_id, self.leg))

    def _reply(self, run_id: str, fields: dict[str, str]) -> None:
        common = {"id": run_id, "leg": self.leg, "worker": "w", "taken_at": 1, "finished_at": 2}
        self._redis.xadd(self._stream, {**common, **fields})


@asynccontextmanager
async def exchange(
    server: Valkey, script: Script, settings: FlowSettings
) -> AsyncIterator[tuple[Exchange, ScriptedLeg]]:
    """An exchange with two legs that do what ``script`` says, and the legacy one of them."""
    stream = f"replies-{uuid4().hex}"
    leg = ScriptedLeg("legacy", server, stream, script)
    other = ScriptedLeg("celery", server, stream, script)
    opened = Exchange((leg, other), ReplyReader(server.url, stream), Cancellations(server.url, {}), settings)
    opened.open(BackgroundServices())
    try:
        yield opened, leg
    finally:
        await opened.close()
