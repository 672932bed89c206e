"""What becomes of evaluations whose flow ends early: the ledger must account for them, too."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from crucible.errors import CrucibleError
from crucible.models import Classification, Comparison
from flows.host import FlowHost

_PAGE = 1000
_WITHIN_S = 10.0


async def cancel_sweep(host: FlowHost, sweep_id: str) -> None:
    """Settle as cancelled whatever is open in a sweep; what was answered already keeps its column.

    Finishes although the caller has been cancelled, within seconds. Raises nothing: the reason why the
    sweep ends early must not be covered up.
    """
    await _see_through(_cancel_open(host, sweep_id))


async def cancel_evaluation(host: FlowHost, evaluation_id: str) -> None:
    """As ``cancel_sweep``, for one evaluation."""
    await _see_through(_cancel(host, [evaluation_id]))


async def _cancel_open(host: FlowHost, sweep_id: str) -> None:
    await host.settler.flush()
    while evaluation_ids := await host.store.unsettled(sweep_id, _PAGE):
        await _cancel(host, evaluation_ids)


async def _cancel(host: FlowHost, evaluation_ids: Sequence[str]) -> None:
    # Behind the answers that came before: the first comparison of an evaluation stands.
    for evaluation_id, evaluation in await host.store.load(evaluation_ids):
        host.settler.put(
            Comparison(
                evaluation_id=evaluation_id,
                name=evaluation.id,
                language=evaluation.language,
                classification=Classification.CANCELLED,
            )
        )
    await host.settler.flush()


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    settling = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({settling}, timeout=_WITHIN_S)
    finally:
        settling.add_done_callback(_log_failure)
    if not done:
        settling.cancel()


def _log_failure(settling: asyncio.Future[None]) -> None:
    failure = None if settling.cancelled() else settling.exception()
    if isinstance(failure, CrucibleError):
        structlog.get_logger().error("not settled as cancelled", reason=str(failure))
