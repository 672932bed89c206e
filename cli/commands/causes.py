"""``crucible causes``: mismatches of a sweep or of traffic, grouped by what changed."""

from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.exits import Json, show
from cli.migration import on_store
from cli.terminal.style import plain_table
from crucible.errors import InputError
from crucible.fingerprints import causes_of_pages, unseen
from crucible.ids import made_at
from crucible.models import Cause, Classification
from crucible.report.visible import visible_text
from crucible.rollout.assessment import ALL, Columns
from crucible.store import Store
from crucible.store.rollout import RolloutStore

_PAGE = 50


def command(
    *,
    sweep_id: Annotated[
        str | None,
        typer.Argument(
            help="The sweep, by its id (sw-…); without it, traffic of the present epoch.",
            metavar="[SWEEP_ID]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Group mismatches by cause, and say how likely the next evaluation shows a new one.

    Those of a sweep, or of the traffic that the migration goes by. Each cause has an example for crucible
    reproduce. Exit 0, whatever was found; 2 when the store has no such sweep. Needs no stack.

    Example: crucible causes sw-01M8274FT4D5Q96BD2F9SCAN7X
    """
    found, pairs = on_store(lambda store: _read(store, sweep_id))
    chance = unseen({cause.digest: cause.count for cause in found}, pairs)
    causes = [_document(cause) for cause in found]
    said = f"the next evaluation shows a cause not seen in these {pairs:,} pairs with a chance of about"
    last_line = Text(f"{said} {100 * chance:.2g} %")
    show(
        {"sweep_id": sweep_id, "pairs": pairs, "unseen": chance, "causes": causes},
        Group(_table(found) if found else Text("no mismatches"), last_line),
        as_json=as_json,
        soft_wrap=True,
    )


async def _read(store: Store, sweep_id: str | None) -> tuple[tuple[Cause, ...], int]:
    """The causes, and how many pairs were compared."""
    if sweep_id is None:
        return await _of_traffic(store.rollout)
    counts = await store.counts(sweep_id)
    if not counts.submitted:
        raise InputError(f"sweep {sweep_id} is not in this store; name the store with CRUCIBLE_HOME")
    page = partial(store.page, sweep_id, [Classification.MISMATCH], limit=_PAGE)
    return await causes_of_pages(page), counts.matched + counts.mismatched


async def _of_traffic(books: RolloutStore) -> tuple[tuple[Cause, ...], int]:
    inputs = (await books.look()).inputs
    page = partial(books.mismatches, inputs.epoch, limit=_PAGE)
    counted = inputs.strata.get(ALL, Columns())
    return await causes_of_pages(page), counted.matched + counted.mismatched


def _document(cause: Cause) -> dict[str, Any]:
    seen = {"first_seen": made_at(cause.first).isoformat(), "last_seen": made_at(cause.last).isoformat()}
    return {**cause.model_dump(mode="json"), **seen}


def _table(found: tuple[Cause, ...]) -> Table:
    table = plain_table(
        "cause", "what changed", "mismatches", "first seen", "last seen", "example", numbers_from=6
    )
    for cause in found:
        times = (f"{made_at(each):%Y-%m-%d %H:%M:%S}" for each in (cause.first, cause.last))
        summary = Text(visible_text(cause.summary))  # not read as markup
        table.add_row(cause.digest, summary, f"{cause.count:,}", *times, cause.example)
    return table
