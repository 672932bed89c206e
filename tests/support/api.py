"""The whole API in this process, with a real store; only the flows are played by the tests."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from api.app import create_app
from api.dashboard.board import Board
from api.dashboard.mount import DashboardParts
from api.dashboard.rendering import Elsewhere
from api.dashboard.session import Sessions
from api.desk import Desk
from api.feed import Feed
from api.figures import Figures, Looks
from api.guard import Guard, Keyring, RateLimits
from api.idempotency import Repeats
from api.orders import Answers, Waiters
from api.readiness import Languages, Observer, Readiness
from api.wiring import Parts
from crucible.ids import new_key_id
from crucible.models.access import ApiKey, Scope, new_key_text
from crucible.settings import ApiSettings, CelerySettings, LegacySettings
from crucible.store import Store, Ticket
from flows.batching import FlowRunBatcher
from flows.host import Endpoints
from tasks.batch import cancelled
from tasks.dead_letters import DeadLetters
from tasks.depths import QueueAges
from tasks.resilience.breaker import connect_briefly
from tests.support.ledger import comparison
from tests.support.stub_executor import TOKEN
from tests.support.valkey import free_port

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
        """As ``flows.host.cancel_evaluations`` does, where no leg runs anything."""
        evaluations = await self._store.load(evaluation_ids)
        await self._store.settle([cancelled(evaluation_id, each) for evaluation_id, each in evaluations])

    async def cancel_sweep(self, sweep_id: str) -> None:
        """As ``flows.host.cancel_sweep`` does."""
        await self.cancel(await self._store.unsettled(sweep_id, 100))


class Api:
    """The application and what is behind it. ``client`` shows the key, ``stranger`` does not."""

    def __init__(self, store: Store, languages: Languages, readiness: Readiness) -> None:
        self.store = store
        self.waiters = Waiters()
        self.flows = Flows(store, self.waiters)
        self.batcher = FlowRunBatcher(self.flows.start)
        answers = Answers("http://prefect")
        self.desk = Desk(store, self.batcher, self.waiters, languages, answers, self.flows.cancel)
        self.limits = RateLimits(f"redis://127.0.0.1:{free_port()}/0", ApiSettings())
        self.guard = Guard(Keyring(SecretStr(KEY), TOKEN, store.keys), self.limits)
        self.repeats = Repeats(store.requests, 24)
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        self.feed = Feed(nowhere)
        executors = ["http://127.0.0.1:9"] * 3
        observer = Observer(Endpoints("", nowhere, nowhere, tuple(executors)))
        ages = QueueAges(nowhere, nowhere, LegacySettings(), CelerySettings())
        self.dashboard = self._dashboard(observer, nowhere)
        parts = Parts(
            desk=self.desk,
            readiness=readiness,
            waiters=self.waiters,
            store=store,
            cancel_sweep=self.flows.cancel_sweep,
            guard=self.guard,
            repeats=self.repeats,
            feed=self.feed,
            dashboard=self.dashboard,
            figures=Figures(Looks(observer.standing, store.rollout.status, lambda: 0), ages, Path()),
        )
        app = create_app(parts)
        self.app = app
        self.client = self.holder(KEY)
        self.stranger = httpx.AsyncClient(transport=self._transport(), base_url="http://api")

    def holder(self, text: str) -> httpx.AsyncClient:
        """A client of whoever holds the key ``text``."""
        headers = {b"Authorization": b"Bearer " + text.encode()}
        return httpx.AsyncClient(transport=self._transport(), base_url="http://api", headers=headers)

    async def new_key(self, *scopes: Scope, **more: Any) -> tuple[ApiKey, str]:
        """A new key in the store, and its text."""
        return await self.make_key(self.store, *scopes, **more)

    @staticmethod
    async def make_key(store: Store, *scopes: Scope, **more: Any) -> tuple[ApiKey, str]:
        """As ``new_key``, in any store."""
        key = ApiKey(
            id=new_key_id(),
            name="of a test",
            scopes=frozenset(scopes),
            created_at=datetime.now(UTC),
            **more,
        )
        text = new_key_text(key.id)
        await store.keys.add(key, text)
        return key, text

    def _transport(self) -> httpx.ASGITransport:
        return httpx.ASGITransport(self.app, raise_app_exceptions=False)

    def _dashboard(self, observer: Observer, nowhere: str) -> DashboardParts:
        return DashboardParts(
            guard=self.guard,
            sessions=Sessions(SecretStr(KEY), self.guard),
            store=self.store,
            board=Board(self.store, observer),
            desk=self.desk,
            feed=self.feed,
            letters=(DeadLetters(connect_briefly(nowhere), "legacy"),),
            cancel_sweep=self.flows.cancel_sweep,
            elsewhere=Elsewhere("http://prefect", None),
        )
