"""The flows that the API starts."""

from collections.abc import Callable, Sequence

from prefect.client.schemas.objects import FlowRun

from api.waiters import Waiters
from crucible.store import Ticket
from flows.confirm import confirm
from flows.evaluate import evaluated
from flows.host import FlowHost


async def evaluate_batch(batch: Sequence[Ticket], on_started: Callable[[str], None]) -> None:
    """One flow run ``evaluate`` for ``batch``; raises whatever ends it early but that it was cancelled."""

    async def note_start(flow: object, flow_run: FlowRun, state: object) -> None:  # noqa: ARG001 (Prefect's)
        on_started(str(flow_run.id))

    first, more = batch[0].name, len(batch) - 1
    name = f"{first} and {more} more" if more else first
    await evaluated(name, [ticket.id for ticket in batch], on_running=[note_start])


async def confirm_mismatches(host: FlowHost, waiters: Waiters, evaluation_ids: Sequence[str]) -> None:
    """Run mismatches of the ledger again and tell those who wait what came of it.

    Raises whatever ends the flow runs early. What could not be run again stays a mismatch, and is told so.
    """
    found = [await host.store.comparison(each) for each in evaluation_ids]
    mismatches = [each for each in found if each is not None]
    try:
        results = await confirm(host, mismatches)
    except Exception:
        for mismatch in mismatches:
            waiters.answer(mismatch)
        raise
    for result in results:
        waiters.answer(result)
