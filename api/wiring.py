"""Puts the parts of the API together, and takes them apart in the right order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from api.dashboard.board import Board
from api.dashboard.mount import DashboardParts
from api.dashboard.rendering import Elsewhere
from api.dashboard.session import Sessions
from api.desk import Desk
from api.feed import Feed
from api.figures import Figures, Looks
from api.guard import Guard, Keyring, RateLimits
from api.idempotency import Repeats
from api.options import ApiOptions
from api.orders import Answers, CompletedElsewhere, Waiters
from api.readiness import Languages, Observer, Readiness
from api.routes.sweeps import CancelSweep
from crucible.errors import PlatformError
from crucible.models import Classification, Comparison
from crucible.settings import (
    ApiSettings,
    CelerySettings,
    LegacySettings,
    Settings,
    load,
)
from crucible.store import Store
from flows.batching import flow_runs_batched
from flows.controller import embedded_controller
from flows.duties.epochs import Epochs
from flows.flow_runs import prefect_session
from flows.host import FlowHost, cancel_evaluations, cancel_sweep, flow_host
from tasks.connections import connect
from tasks.dead_letters import DeadLetters
from tasks.depths import QueueAges

FINISH_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints use, and the waiters, who must be released before the server can stop."""

    desk: Desk
    readiness: Readiness
    waiters: Waiters
    store: Store
    cancel_sweep: CancelSweep
    guard: Guard
    repeats: Repeats
    feed: Feed
    dashboard: DashboardParts
    figures: Figures


@asynccontextmanager
async def open_parts(options: ApiOptions) -> AsyncIterator[Parts]:
    """Everything, running. At the end flow runs under way get a few seconds, then they are cancelled.

    Raises ``SettingsError``, ``StoreError`` or ``ServiceUnavailable`` with the remedy.
    """
    async with AsyncExitStack() as exits:
        enter = exits.enter_async_context
        await enter(prefect_session())
        if options.with_controller:
            await enter(embedded_controller(options.endpoints, asyncio.Event()))
        host = await enter(flow_host(options.endpoints, "api"))
        executors = options.endpoints.executor_urls, options.endpoints.executor_token
        languages = exits.enter_context(closing(Languages(*executors)))
        await _ask_first(host, languages, options)
        readiness = await enter(
            aclosing(Readiness(options.endpoints, options.prefect_api_url, host.store, host.reports))
        )
        settings = load(ApiSettings)
        limits = await enter(aclosing(RateLimits(options.endpoints.redis_url, settings)))
        guard = Guard(Keyring(options.key, executors[1], host.store.keys), limits)
        repeats = Repeats(host.store.requests, settings.repeatable_h)
        repeats.open(host.background)
        waiters = Waiters()
        completed = CompletedElsewhere(host.store, waiters)
        host.background.every(0, "answers from elsewhere", completed.round)
        feed = await enter(aclosing(Feed(options.endpoints.redis_url, completed.on_event)))
        feed.open(host.background)
        observer = await enter(aclosing(Observer(options.endpoints)))
        ages = await enter(aclosing(_queue_ages(options)))
        exits.enter_context(host.listening(partial(_answer, waiters, completed)))
        batcher = await enter(flow_runs_batched(host, FINISH_WITHIN_S))
        answers = Answers(options.prefect_url)
        cancel, stop_sweep = partial(cancel_evaluations, host), partial(cancel_sweep, host)
        desk = Desk(host.store, batcher, waiters, languages, answers, cancel)
        desk.open(host.background)
        looks = Looks(observer.standing, host.store.rollout.status, lambda: batcher.waiting)
        figures = Figures(looks, ages, load(Settings).home)
        dashboard = exits.enter_context(
            _dashboard(options, host.store, guard, desk, feed, observer, stop_sweep)
        )
        yield Parts(
            desk, readiness, waiters, host.store, stop_sweep, guard, repeats, feed, dashboard, figures
        )


def _answer(waiters: Waiters, completed: CompletedElsewhere, comparison: Comparison) -> None:
    """Answer who waits for ``comparison``; a mismatch is answered when it is confirmed."""
    if comparison.classification is Classification.MISMATCH:
        completed.put(comparison)
    else:
        waiters.answer(comparison)


@contextmanager
def _dashboard(
    options: ApiOptions,
    store: Store,
    guard: Guard,
    desk: Desk,
    feed: Feed,
    observer: Observer,
    stop_sweep: CancelSweep,
) -> Iterator[DashboardParts]:
    redis_url, celery_redis_url = options.endpoints.redis_url, options.endpoints.celery_redis_url
    elsewhere = Elsewhere(options.prefect_url, options.gateway_url)
    with connect(redis_url, 2) as redis, connect(celery_redis_url, 2) as celery_redis:
        yield DashboardParts(
            guard=guard,
            sessions=Sessions(options.key, guard),
            store=store,
            board=Board(store, observer),
            desk=desk,
            feed=feed,
            letters=(DeadLetters(redis, "legacy"), DeadLetters(celery_redis, "celery")),
            cancel_sweep=stop_sweep,
            elsewhere=elsewhere,
        )


def _queue_ages(options: ApiOptions) -> QueueAges:
    urls = options.endpoints.redis_url, options.endpoints.celery_redis_url
    return QueueAges(*urls, load(LegacySettings), load(CelerySettings))


async def _ask_first(host: FlowHost, languages: Languages, options: ApiOptions) -> None:
    """Know the languages, and have the epoch be that of the executors, before the first evaluation comes."""
    try:
        await languages.with_all_of(())
        with closing(Epochs(host.store, host.rules, options.endpoints)) as epochs:
            await epochs.round()
    except PlatformError as error:
        structlog.get_logger().warning("executors not there yet", reason=str(error))
