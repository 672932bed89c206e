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
from api.starter import Starter
from api.waiters import Waiters
from crucible.errors import ExecutorUnavailable
from crucible.models import Classification, Comparison
from flows.host import FlowHost, flow_host
from flows.session import prefect_session

_FINISH_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints use, and the waiters, who must be released before the server can stop."""

    desk: Desk
    readiness: Readiness
    waiters: Waiters


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
        with closing(languages):
            await _ask_first(languages)
            async with aclosing(readiness), _flows_running(host, waiters) as starter:
                yield Parts(Desk(host.store, starter, waiters, languages, answers), readiness, waiters)


@asynccontextmanager
async def _flows_running(host: FlowHost, waiters: Waiters) -> AsyncIterator[Starter]:
    starter = Starter(evaluate_batch)
    confirmer = Confirmer(partial(confirm_mismatches, host, waiters))

    def on_settled(comparison: Comparison) -> None:
        if comparison.classification is Classification.MISMATCH:
            confirmer.put(comparison.evaluation_id)
        else:
            waiters.answer(comparison)

    # Flows find their host through the context of the task that starts them: these two are created
    # inside it, the tasks of requests are not.
    starting, confirming = asyncio.create_task(starter.run()), asyncio.create_task(confirmer.run())
    with host.listening(on_settled):
        try:
            yield starter
        finally:
            starting.cancel()
            await starter.close(_FINISH_WITHIN_S)
            confirming.cancel()
            await asyncio.gather(starting, confirming, return_exceptions=True)


async def _ask_first(languages: Languages) -> None:
    try:
        await languages.with_all_of(())
    except ExecutorUnavailable as error:
        structlog.get_logger().warning("executors not there yet", reason=str(error))
