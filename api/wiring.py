"""Puts the parts of the API together, and takes them apart in the right order."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Protocol

import structlog

from api.access import Keyring
from api.answers import Answers
from api.confirmer import Confirmer
from api.dashboard.board import Board
from api.dashboard.parts import DashboardParts
from api.dashboard.rendering import Elsewhere
from api.dashboard.session import Sessions
from api.desk import Desk
from api.feed import Feed
from api.figures import Figures, Looks
from api.flow_runs import confirm_mismatches, evaluate_batch
from api.guard import Guard
from api.idempotency import Repeats
from api.languages import Languages
from api.limits import RateLimits
from api.options import ApiOptions
from api.pruner import Pruner
from api.readiness import Readiness
from api.routes.sweeps import CancelSweep
from api.standing import Observer
from api.starter import Starter
from api.waiters import Waiters
from crucible.errors import PlatformError
from crucible.models import Classification, Comparison, Evaluation
from crucible.settings import (
    ApiSettings,
    CelerySettings,
    LegacySettings,
    RetentionSettings,
    Settings,
    load,
)
from crucible.store import Store, Ticket
from crucible.telemetry.settings import TraceSettings
from flows.ahead import Registrar
from flows.alarm import Alarm
from flows.cancel import cancel_evaluations, cancel_sweep
from flows.duties.spans import SpanRetention
from flows.epochs import Epochs
from flows.host import FlowHost, flow_host
from flows.janitor import Janitor
from flows.noise import NoiseSampler
from flows.sentinels import Sentinels
from flows.session import prefect_session
from tasks.background import BackgroundService
from tasks.connections import connect
from tasks.dead_letters import DeadLetters
from tasks.once import Once
from tasks.queue_ages import QueueAges

_FINISH_WITHIN_S = 5.0
_SPANS_EVERY_S = 60.0


class Behind(Protocol):
    """What goes on behind the endpoints until it is cancelled."""

    async def run(self) -> None:
        """Go on."""


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
    async with prefect_session(), flow_host(options.endpoints, "api") as host:
        languages = Languages(options.executor_urls, options.executor_token.get_secret_value())
        readiness = Readiness(options.endpoints, options.prefect_api_url, host.store, host.reports)
        settings = load(ApiSettings)
        limits = RateLimits(options.endpoints.redis_url, settings)
        guard = Guard(Keyring(options.key, options.executor_token, host.store.keys), limits)
        repeats = Repeats(host.store.requests, settings.repeatable_h)
        waiters = Waiters()
        answers = Answers(options.prefect_url)
        legacy_urls, celery_url = options.executor_urls[:2], options.executor_urls[2]
        epochs = Epochs(
            host.store, host.rules, legacy_urls, celery_url, options.executor_token.get_secret_value()
        )
        with closing(languages), closing(epochs):
            await _ask_first(languages, epochs)
            feed = Feed(options.endpoints.redis_url)
            once = Once(options.endpoints.redis_url)
            observer = Observer(host.store, options.endpoints, options.executor_urls, host.events, once)
            ages = _queue_ages(options)
            alarm = Alarm(host.store, once)
            pruner = Pruner(host.store.retention, load(RetentionSettings))
            behind = (epochs, alarm, _SpanRounds(host.store, once), pruner)
            repeats.open(host.background)
            feed.open(host.background)
            observer.open(host.background)
            async with (
                aclosing(once),
                aclosing(readiness),
                aclosing(limits),
                aclosing(feed),
                aclosing(observer),
                aclosing(ages),
                _flows_running(host, waiters, once, behind) as starter,
            ):
                cancel = partial(cancel_evaluations, host)
                desk = Desk(host.store, starter, waiters, languages, answers, cancel)
                desk.open(host.background)
                stop_sweep = partial(cancel_sweep, host)
                looks = Looks(observer.standing, host.store.rollout.status, lambda: starter.waiting)
                figures = Figures(looks, ages, load(Settings).home)
                with _dashboard(options, host.store, guard, desk, feed, observer, stop_sweep) as dashboard:
                    yield Parts(
                        desk,
                        readiness,
                        waiters,
                        host.store,
                        stop_sweep,
                        guard,
                        repeats,
                        feed,
                        dashboard,
                        figures,
                    )


@asynccontextmanager
async def _flows_running(
    host: FlowHost, waiters: Waiters, once: Once, others_behind: Sequence[Behind]
) -> AsyncIterator[Starter]:
    starter = Starter(partial(evaluate_batch, Registrar()))
    confirmer = Confirmer(partial(confirm_mismatches, host, waiters), host.store.rollout.unconfirmed)
    noise = NoiseSampler(host)
    sentinels = Sentinels(host.store, once, partial(_start_one, starter))

    def on_settled(comparison: Comparison) -> None:
        noise.put(comparison)
        if comparison.classification is Classification.MISMATCH:
            confirmer.put(comparison.evaluation_id)
        else:
            waiters.answer(comparison)

    # Flows find their host through the context of the task that starts them: these are created
    # inside it, the tasks of requests are not.
    starter.open(host.background)
    behind: tuple[Behind, ...] = (confirmer, noise, sentinels, Janitor(host, starter), *others_behind)
    for each in behind:
        _keep(host, each)
    with host.listening(on_settled):
        try:
            yield starter
        finally:
            host.leave()
            await starter.close(_FINISH_WITHIN_S)
            for each in behind:
                await host.background.end(type(each).__name__)


def _keep(host: FlowHost, part: Behind) -> None:
    async def run(_service: BackgroundService) -> None:
        await part.run()

    host.background.keep(type(part).__name__, run, bound_s=inf, required=False)


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


class _SpanRounds:
    """Has one API process at a time forget old spans."""

    def __init__(self, store: Store, once: Once) -> None:
        self._retention, self._once = SpanRetention(store.spans, load(TraceSettings)), once

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                if await self._once.is_first("tidy spans", _SPANS_EVERY_S):
                    await self._retention.round()
            except PlatformError as error:
                structlog.get_logger().warning("old spans not forgotten", reason=str(error))
            await asyncio.sleep(_SPANS_EVERY_S)


def _start_one(starter: Starter, evaluation_id: str, evaluation: Evaluation) -> None:
    if starter.reserve(1):
        starter.put([Ticket(evaluation_id, evaluation.id)])


async def _ask_first(languages: Languages, epochs: Epochs) -> None:
    try:
        await languages.with_all_of(())
        await epochs.look()
    except PlatformError as error:
        structlog.get_logger().warning("executors not there yet", reason=str(error))
