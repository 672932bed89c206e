"""What a process needs to run flows: the store, both legs, one reader of replies; and how it cancels."""

import asyncio
import contextlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from prefect import tags

from crucible.models import Classification, Comparison, Counts
from crucible.settings import CelerySettings, FlowSettings, LegacySettings, load
from crucible.store import Store
from crucible.store.ownership import CANCELLED
from crucible.telemetry.settings import TraceSettings
from flows.flow_runs import FlowRuns, enduring
from flows.rules import Rules
from tasks.background import BackgroundServices
from tasks.batch import Batch, cancelled
from tasks.cancellation import Cancellations, killers_of, see_through
from tasks.celery_leg.client import CeleryClient
from tasks.events import EventKind, EventLog
from tasks.exchange import Exchange
from tasks.flow_metrics import count_settled, measure_lag, show_nothing_yet
from tasks.leases import Lease, ServiceReports
from tasks.legacy_leg.client import LegacyClient
from tasks.replies import ReplyReader
from tasks.resilience.breaker import CELERY_REDIS, REDIS, breakers_of_process
from tasks.run_traces import RunTraces
from tasks.settler import Settler

_current: ContextVar["FlowHost"] = ContextVar("flow host")

T = TypeVar("T")

OnSettled = Callable[[Comparison], None]


@dataclass(frozen=True)
class Endpoints:
    """The servers a flow host works with.

    The executors are executor-1, executor-2 and executor-3, so that it can end programs whose worker is gone.
    """

    database_url: str
    redis_url: str
    celery_redis_url: str
    executor_urls: tuple[str, ...] = ()
    executor_token: str = field(default="", repr=False)


class FlowHost:
    """One per process; flows find it with ``current_host``."""

    def __init__(
        self,
        store: Store,
        exchange: Exchange,
        cancellations: Cancellations,
        lease: Lease,
        events: EventLog,
        traces: RunTraces,
        settings: FlowSettings,
        reply_stream: str,
        reports: ServiceReports,
    ) -> None:
        self.store = store
        self.exchange = exchange
        self.cancellations = cancellations
        self.lease = lease
        self.events = events
        self.traces = traces
        self.flow_runs = FlowRuns()
        self.sweeps: dict[str, str] = {}
        """The flow run of each sweep that is under way here."""
        exchange.on_cancelled = self._cancelled
        self.settings = settings
        self.reports = reports
        self.background = reports.background
        self.rules = Rules(store, settings.rules_file)
        self.settler = Settler(store, self._settled, self._stands, lambda: exchange.is_busy)
        self.trackers: dict[str, Tracker] = {}
        self._ahead: dict[str, Batch] = {}
        self.reply_stream = reply_stream
        self._listeners: list[OnSettled] = []

    async def open(self, exits: contextlib.AsyncExitStack) -> None:
        """Start all that goes on in the background; ``exits`` ends it in the right order."""
        exits.push_async_callback(asyncio.to_thread, self.reports.close)
        exits.push_async_callback(self.background.aclose)
        self.reports.open()
        await self.lease.open(self.background)
        exits.push_async_callback(self.lease.close)
        self.exchange.open(self.background)
        exits.push_async_callback(self.exchange.close)
        self.events.open(self.background)
        exits.push_async_callback(self.events.close)
        self.settler.open(self.background)
        exits.push_async_callback(self.settler.close)
        self.flow_runs.open(self.background)
        self.background.every(0, "event loop lag", measure_lag, required=False)
        show_nothing_yet()

    @contextlib.asynccontextmanager
    async def asked_ahead(self, evaluation_ids: list[str]) -> AsyncIterator[Batch]:
        """The batch of these evaluations, of which the legs are asked before there is a flow run for it.

        ``open_batch`` hands it to the flow run that begins in the meantime; what none has taken by the end
        runs on, and nobody waits for it. Raises as ``open_batch`` does.
        """
        batch = await self._batch(evaluation_ids, 0, None)
        self._ahead[evaluation_ids[0]] = batch
        batch.ask_ahead()
        try:
            yield batch
        finally:
            if self._ahead.pop(evaluation_ids[0], None) is not None:
                batch.abandon()

    def is_ahead(self, evaluation_id: str) -> bool:
        """Whether the legs were asked for the batch that this one is first in, and no flow run has it yet."""
        return evaluation_id in self._ahead

    async def open_batch(self, evaluation_ids: list[str], run: int, flow_run_id: str) -> Batch:
        """The batch of these evaluations, read from the ledger; raises ``StoreError`` for an unknown id.

        The pairs of run 0 are settled as they come; those of later runs are kept beside the ledger.
        """
        ahead = self._ahead.pop(evaluation_ids[0], None) if run == 0 and evaluation_ids else None
        if ahead is None:
            return await self._batch(evaluation_ids, run, flow_run_id)
        ahead.begin(flow_run_id)
        return ahead

    async def _batch(self, evaluation_ids: list[str], run: int, flow_run_id: str | None) -> Batch:
        work = await self.store.work(evaluation_ids)
        on_pair = self.settler.put if run == 0 else _ignore
        rules = await self.rules.of(work)
        return Batch(
            work,
            run,
            flow_run_id,
            self.exchange,
            self.reply_stream,
            on_pair,
            lambda each: rules[each.id],
            await self.traces.of_batch(work, run, flow_run_id),
        )

    async def enduring(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What ``attempt`` returns, tried for as long as the settings say while the platform is at fault."""
        return await enduring(self.settings.prefect_within_s, attempt)

    def tell(self, kind: EventKind, comparison: Comparison) -> None:
        """Tell whoever listens to events of a comparison that is durable."""
        self.events.put(
            kind,
            {
                "id": comparison.evaluation_id,
                "name": comparison.name,
                "language": comparison.language,
                "classification": comparison.classification,
                "unexpected": comparison.unexpected,
                "cause": comparison.cause,
                "answered_by": comparison.answered_by,
                "reruns": comparison.reruns,
            },
        )

    def leave(self) -> None:
        """From now on what is cancelled here is left as it is, for whoever takes over: this process ends."""
        self.exchange.leave()
        self.flow_runs.leave()

    def _cancelled(self, ids: Collection[str]) -> None:
        self.flow_runs.cancel([run for sweep, run in self.sweeps.items() if sweep in ids])

    @contextlib.contextmanager
    def listening(self, listener: OnSettled) -> Iterator[None]:
        """Let ``listener`` hear of every comparison once it is durable.

        Where another process had settled the evaluation earlier, it hears of the one that stands.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _settled(self, comparison: Comparison) -> None:
        count_settled(comparison)
        self.tell(EventKind.SETTLED, comparison)
        self._stands(comparison)

    def _stands(self, comparison: Comparison) -> None:
        """Pass on what is in the ledger; whichever process settled it has counted and announced it."""
        self.traces.settled(comparison)
        for listener in self._listeners:
            listener(comparison)


def _ignore(_comparison: Comparison) -> None:
    """Re-runs are judged together, when all of them are there."""


class Tracker:
    """One sweep as it grows: for those who watch it, and for the sweep itself."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.total = 0
        self.phase = "starting"
        self._open: set[str] = set()

    def submitted(self, evaluation_ids: Iterable[str], not_sampled: int) -> None:
        """Count evaluations that were entered into the ledger; ``not_sampled`` ones are settled already."""
        fresh = list(evaluation_ids)
        self._open.update(fresh)
        self.counts = self.counts.with_submitted(len(fresh) + not_sampled)
        if not_sampled:
            self.counts = self.counts.with_settled(Classification.NOT_SAMPLED, number=not_sampled)

    def settled(self, comparison: Comparison) -> None:
        """Count a comparison that is durable, if it is one of this sweep's."""
        if comparison.evaluation_id in self._open:
            self._open.discard(comparison.evaluation_id)
            self.counts = self.counts.with_settled(
                comparison.classification, unexpected=comparison.unexpected
            )


@contextlib.asynccontextmanager
async def flow_host(
    endpoints: Endpoints, process: str = "command line", *, embedded: bool = False
) -> AsyncIterator[FlowHost]:
    """Open the store, both legs and the reply reader; flows started inside find them.

    ``process`` is what reports of its background services call this process. A host that is ``embedded`` is
    beside another one in the process, and the names of its services begin with that.

    Raises ``StoreError`` or ``ServiceUnavailable`` with the remedy.
    """
    settings, legacy = load(FlowSettings), load(LegacySettings)
    owner = f"host-{uuid4().hex[:12]}"
    reply_stream = f"crucible:replies:{owner}"
    async with contextlib.AsyncExitStack() as exits:
        store = await Store.open(endpoints.database_url, owner)
        exits.push_async_callback(store.close)
        breakers = exits.enter_context(contextlib.closing(breakers_of_process(endpoints.redis_url)))
        clients = (
            LegacyClient(endpoints.redis_url, legacy, breakers.own(REDIS)),
            CeleryClient(endpoints.celery_redis_url, load(CelerySettings), breakers.shared(CELERY_REDIS)),
        )
        cancellations = Cancellations(
            endpoints.redis_url, killers_of(endpoints.executor_urls, endpoints.executor_token)
        )
        reader = ReplyReader(endpoints.redis_url, reply_stream)
        host = FlowHost(
            store,
            Exchange(clients, reader, cancellations, settings),
            cancellations,
            Lease(endpoints.redis_url, owner, settings.lease_s),
            EventLog(endpoints.redis_url),
            RunTraces(store.spans, load(TraceSettings)),
            settings,
            reply_stream,
            ServiceReports(
                endpoints.redis_url, process, BackgroundServices(f"{process}: " if embedded else "")
            ),
        )
        await host.open(exits)
        breakers.keep_probes(host.background)
        token = _current.set(host)
        exits.callback(_current.reset, token)
        with tags(host_tag(owner)):
            yield host


def host_tag(owner: str) -> str:
    """The tag by which Prefect knows the flow runs of a host."""
    return f"host:{owner}"


def current_host() -> FlowHost:
    """The flow host of this process; flows run only inside ``flow_host``."""
    return _current.get()


Settle = Callable[[], Coroutine[Any, Any, None]]
"""Settles as cancelled what a flow leaves open."""

_PAGE = 1000


async def cancel_evaluations(host: FlowHost, evaluation_ids: Sequence[str]) -> None:
    """Cancel evaluations, whichever process runs them; what was answered before keeps its column.

    Nothing of them waits in a queue and none of their programs runs when it returns, unless a server could
    not be reached: then the marks see to it. Raises ``ServiceUnavailable`` when those could not be made,
    and nothing is cancelled then, and ``StoreError`` for an unknown id.
    """
    await host.exchange.cancel(evaluation_ids)
    await settle_cancelled(host, evaluation_ids)


async def cancel_sweep(host: FlowHost, sweep_id: str) -> None:
    """Cancel a sweep, whichever process runs it: it submits no more, and what is open in it is cancelled.

    Also where that process is no more. Raises as ``cancel_evaluations`` does.
    """
    await host.cancellations.mark([sweep_id])
    while evaluation_ids := await host.store.unsettled(sweep_id, _PAGE):
        await cancel_evaluations(host, evaluation_ids)


async def settle_cancelled_sweep(host: FlowHost, sweep_id: str) -> None:
    """Settle as cancelled whatever is open in a sweep whose flow run is ending here, and the sweep itself."""
    await host.settler.flush()
    while evaluation_ids := await host.store.unsettled(sweep_id, _PAGE):
        await settle_cancelled(host, evaluation_ids)
    await host.store.ownership.end_sweep(sweep_id, CANCELLED)


async def settling_if_it_fails(work: Awaitable[T], settle: Settle) -> T:
    """What ``work`` returns; when it fails, ``settle`` accounts for what it leaves open first."""
    try:
        return await work
    except Exception:
        await see_through(settle())
        raise


async def settle_cancelled(host: FlowHost, evaluation_ids: Sequence[str]) -> None:
    """Settle evaluations as cancelled, behind the answers that came before: the first comparison stands."""
    for evaluation_id, evaluation in await host.store.load(evaluation_ids):
        host.settler.put(cancelled(evaluation_id, evaluation))
    await host.settler.flush()
