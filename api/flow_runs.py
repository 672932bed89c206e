"""The flows that the API starts."""

from collections.abc import Callable, Sequence

from api.waiters import Waiters
from crucible.store import Ticket
from flows.ahead import Registrar, evaluated_ahead
from flows.confirm import confirm
from flows.host import FlowHost


async def evaluate_batch(
    registrar: Registrar, batch: Sequence[Ticket], on_started: Callable[[str], None]
) -> None:
    """One flow run ``evaluate`` for ``batch``; raises whatever ends it early but that it was cancelled."""
    first, more = batch[0].name, len(batch) - 1
    name = f"{first} and {more} more" if more else first
    await evaluated_ahead(registrar, name, [ticket.id for ticket in batch], on_started)


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
