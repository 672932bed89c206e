"""The whole API in this process, with a real store; only the flows are played by the tests."""

import asyncio
from collections.abc import Callable, Sequence

import httpx
from pydantic import SecretStr

from api.answers import Answers
from api.app import create_app
from api.desk import Desk
from api.languages import Languages
from api.readiness import Readiness
from api.starter import Starter
from api.waiters import Waiters
from api.wiring import Parts
from crucible.store import Store, Ticket
from tasks.batch import cancelled
from tests.support.ledger import comparison

KEY = "key-of-the-tests-ä"


class Flows:
    """Plays the flow: each batch is settled as a match, once ``go`` is set."""

    def __init__(self, store: Store, waiters: Waiters) -> None:
        self.batches: list[list[Ticket]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None
        self._store, self._waiters = store, waiters

    async def start(self, batch: Sequence[Ticket], on_started: Callable[[str], None]) -> None:
        """As ``StartFlow`` says."""
        self.batches.append(list(batch))
        if self.fault is not None:
            raise self.fault
        on_started(f"run-{len(self.batches)}")
        await self.go.wait()
        found = [comparison(ticket.id, name=ticket.name) for ticket in batch]
        for each in (await self._store.settle(found)).comparisons:
            self._waiters.answer(each)

    async def cancel(self, evaluation_ids: Sequence[str]) -> None:
        """As ``flows.cancel.cancel_evaluations`` does, where no leg runs anything."""
        evaluations = await self._store.load(evaluation_ids)
        await self._store.settle([cancelled(evaluation_id, each) for evaluation_id, each in evaluations])

    async def cancel_sweep(self, sweep_id: str) -> None:
        """As ``flows.cancel.cancel_sweep`` does."""
        await self.cancel(await self._store.unsettled(sweep_id, 100))


class Api:
    """The application and what is behind it. ``client`` shows the key, ``stranger`` does not."""

    def __init__(self, store: Store, languages: Languages, readiness: Readiness) -> None:
        self.store = store
        self.waiters = Waiters()
        self.flows = Flows(store, self.waiters)
        self.starter = Starter(self.flows.start)
        answers = Answers("http://prefect")
        self.desk = Desk(store, self.starter, self.waiters, languages, answers, self.flows.cancel)
        parts = Parts(self.desk, readiness, self.waiters, store, self.flows.cancel_sweep)
        app = create_app(parts, SecretStr(KEY))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        bearer = b"Bearer " + KEY.encode()
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://api", headers={b"Authorization": bearer}
        )
        self.stranger = httpx.AsyncClient(transport=transport, base_url="http://api")
