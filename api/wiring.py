"""Puts the parts of the API together, and takes them apart in the right order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial

import structlog

from api.answers import Answers
from api.confirmer import Confirmer
from api.desk import Desk
from api.flow_runs import confirm_mismatches, evaluate_batch
from api.languages import Languages
from api.options import ApiOptions
from api.readiness import Readiness
from api.routes.sweeps import CancelSweep
from api.starter import Starter
from api.waiters import Waiters
from crucible.errors import PlatformError
from crucible.models import Classification, Comparison, Evaluation
from crucible.store import Store, Ticket
from flows.alarm import Alarm
from flows.cancel import cancel_evaluations, cancel_sweep
from flows.epochs import Epochs
from flows.host import FlowHost, flow_host
from flows.janitor import Janitor
from flows.noise import NoiseSampler
from flows.sentinels import Sentinels
from flows.session import prefect_session

_FINISH_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints use, and the waiters, who must be released before the server can stop."""

    desk: Desk
    readiness: Readiness
    waiters: Waiters
    store: Store
    cancel_sweep: CancelSweep


@asynccontextmanager
async def open_parts(options: ApiOptions) -> AsyncIterator[Parts]:
    """Everything, running. At the end flow runs under way get a few seconds, then they are cancelled.

    Raises ``SettingsError``, ``StoreError`` or ``ServiceUnavailable`` with the remedy.
    """
    async with prefect_session(), flow_host(options.endpoints) as host:
        languages = Languages(options.executor_urls, options.executor_token.get_secret_value())
        readiness = Readiness(options.endpoints, options.prefect_api_url, host.store)
        waiters = Waiters()
        answers = Answers(options.prefect_api_url.removesuffix("/api"))
        legacy_urls, celery_url = options.executor_urls[:2], options.executor_urls[2]
        epochs = Epochs(
            host.store, host.rules, legacy_urls, celery_url, options.executor_token.get_secret_value()
        )
        with closing(languages), closing(epochs):
            await _ask_first(languages, epochs)
            async with aclosing(readiness), _flows_running(host, waiters, epochs) as starter:
                cancel = partial(cancel_evaluations, host)
                desk = Desk(host.store, starter, waiters, languages, answers, cancel)
                yield Parts(desk, readiness, waiters, host.store, partial(cancel_sweep, host))


@asynccontextmanager
async def _flows_running(host: FlowHost, waiters: Waiters, epochs: Epochs) -> AsyncIterator[Starter]:
    starter = Starter(evaluate_batch)
    confirmer = Confirmer(partial(confirm_mismatches, host, waiters), host.store.rollout.unconfirmed)
    noise = NoiseSampler(host)
    sentinels = Sentinels(host.store, partial(_start_one, starter))

    def on_settled(comparison: Comparison) -> None:
        noise.put(comparison)
        if comparison.classification is Classification.MISMATCH:
            confirmer.put(comparison.evaluation_id)
        else:
            waiters.answer(comparison)

    # Flows find their host through the context of the task that starts them: these are created
    # inside it, the tasks of requests are not.
    starting = asyncio.create_task(starter.run())
    janitor, alarm = Janitor(host, starter), Alarm(host.store)
    behind = (confirmer, noise, sentinels, epochs, alarm, janitor)
    others = [asyncio.create_task(each.run()) for each in behind]
    with host.listening(on_settled):
        try:
            yield starter
        finally:
            starting.cancel()
            host.leave()
            await starter.close(_FINISH_WITHIN_S)
            for each in others:
                each.cancel()
            await asyncio.gather(starting, *others, return_exceptions=True)


def _start_one(starter: Starter, evaluation_id: str, evaluation: Evaluation) -> None:
    if starter.reserve(1):
        starter.put([Ticket(evaluation_id, evaluation.id)])


async def _ask_first(languages: Languages, epochs: Epochs) -> None:
    try:
        await languages.with_all_of(())
        await epochs.look()
    except PlatformError as error:
        structlog.get_logger().warning("executors not there yet", reason=str(error))
