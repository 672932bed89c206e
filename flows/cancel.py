"""Cancels evaluations and sweeps: both legs stop, and the ledger says so."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from crucible.store.ownership import CANCELLED
from flows.host import FlowHost
from tasks.batch import cancelled
from tasks.cancellation import see_through

T = TypeVar("T")

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
