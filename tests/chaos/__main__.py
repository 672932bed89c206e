"""``python -m tests.chaos``: every fault in the middle of a sweep, and what it did to it."""

import asyncio
import json
import sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Annotated

import typer

from tests.chaos.campaign import Campaign
from tests.chaos.document import check, rewrite
from tests.chaos.faults import all_faults
from tests.chaos.findings import Row, heading, line, summary
from tests.chaos.run import Order

_SEED = 5


def main(
    *,
    only: Annotated[list[str], typer.Option(help="Faults whose names hold this; all, if not given.")] = [],  # noqa: B006
    evaluations: Annotated[int, typer.Option(min=20, help="How many each sweep has.")] = 500,
    seed: Annotated[int, typer.Option(help="Decides programs, moments and pairs.")] = _SEED,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    write: Annotated[Path | None, typer.Option(help="Put the table into this document, too.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave homes and logs in this folder.")] = None,
) -> None:
    """Strike in mid-sweep, fault after fault, on a real local stack; loopback only.

    Exit 0 when nothing was lost or doubled, every ledger adds up, no program still runs, and everything
    recovered by itself within its bound; else 1.
    """
    faults = [each for each in all_faults(seed) if not only or any(part in each.name for part in only)]
    if not faults:
        sys.exit("no fault has such a name; they are: " + ", ".join(each.name for each in all_faults(seed)))
    if write is not None:
        check(write)
    folder = keep or Path(mkdtemp(prefix="crucible-chaos-"))
    try:
        campaign = Campaign(folder, Order(evaluations, seed), _say_nothing if as_json else _say)
        rows = asyncio.run(campaign.run(faults))
    finally:
        if keep is None:
            rmtree(folder, ignore_errors=True)
    if as_json:
        sys.stdout.write(json.dumps([row.document() for row in rows]) + "\n")
    else:
        _say(summary(rows))
    if write is not None:
        rewrite(write, rows, evaluations, seed)
    sys.exit(0 if all(row.ok for row in rows) else 1)


def _say(row: Row | str | None) -> None:
    text = row if isinstance(row, str) else heading() if row is None else line(row)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say_nothing(_row: Row | str | None) -> None:
    """The rows are printed together."""


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
