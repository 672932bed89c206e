"""``crucible dlq``: dead letters, which are what a leg has given up delivering."""

import asyncio
from enum import StrEnum
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.text import Text

from cli import foreground
from cli.letters import LetterBox, Opened, letter_box
from cli.migration import opened_store
from cli.replaying import Replayed, replayed
from cli.terminal.letters_view import letter_document, letters_table, render_letter, whole_document
from cli.terminal.machine import print_json
from crucible.errors import InputError
from crucible.models import Leg
from crucible.settings import Settings, load
from crucible.store import LedgerRow

_HELP = """Look after dead letters: what a leg has given up delivering.

A payload that nobody can read becomes one at once; so does a run that was taken again and again and never
answered, as when it takes its worker with it. Each letter has the reason, and the payload byte for byte.
"""

_Json = typer.Option("--json", help="Print it as JSON.")

app = typer.Typer(help=_HELP)


class OfLeg(StrEnum):
    """The legs, as options name them."""

    LEGACY = "legacy"
    CELERY = "celery"


@app.callback()
def dlq() -> None:
    """Look after dead letters."""


@app.command("list")
def list_letters(
    *,
    leg: Annotated[OfLeg | None, typer.Option(help="Those of one leg alone.")] = None,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """List dead letters, the oldest first, each leg's newest 10,000. Exit 0, whether there are any or not.

    Example: crucible dlq list --leg celery
    """
    with letter_box(load(Settings)) as box:
        found = box.letters(cast("Leg | None", leg and leg.value))
        if as_json:
            print_json({"letters": [letter_document(each) for each in found]})
            return
        table = letters_table(found)
    Console().print(table if table.row_count else Text("no dead letters"))


@app.command("show")
def show(
    *,
    letter_id: Annotated[str, typer.Argument(help="The letter, by its id (dl-…).", metavar="ID")],
    as_json: Annotated[bool, _Json] = False,
) -> None:
    r"""Show one dead letter: why it is one, its payload, and what the ledger says of its evaluation.

    Nothing in a payload can control the terminal: such bytes are shown as \xNN. Exit 2 when there is none of
    that id.

    Example: crucible dlq show dl-legacy-3
    """
    settings = load(Settings)
    with letter_box(settings) as box:
        opened = box.find(letter_id)
    state = asyncio.run(_ledger_row(settings, opened.evaluation_id))
    if as_json:
        print_json(whole_document(opened, state))
    else:
        Console().print(render_letter(opened, state), soft_wrap=True)


@app.command("replay")
def replay(
    *,
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="Letters, by their ids (dl-…).", metavar="[ID]...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters of both legs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of each as JSON.")] = False,
) -> None:
    """Deliver dead letters once more, and remove them.

    Where the evaluation is still open, or is none of this store's, the payload goes back on its queue and is
    counted from the beginning. Where it is settled, its program is run again on both legs as a new evaluation
    tagged replay-of:ID; that is no traffic, and what the ledger said before stands. Starts a local stack for
    that and stops it again unless one is up.

    Exit 0; 2 when there is no letter of some id (nothing is done then) or nobody can read one (it stays, the
    others are delivered); 4 when a server does not answer.

    Example: crucible dlq replay dl-celery-1 dl-celery-2
    """
    settings = load(Settings)
    if everything == bool(letter_ids):
        raise InputError("name letters, or give --all; see `crucible dlq list`")
    with letter_box(settings) as box:
        letters = _chosen(box, letter_ids)
        done = foreground.run(replayed(settings, box, letters))
    outcomes = _outcomes(done)
    if as_json:
        print_json({"replayed": outcomes, "unreadable": [each.letter.id for each in done.unreadable]})
    else:
        for outcome in outcomes:
            typer.echo(_in_words(outcome))
    if done.unreadable:
        which = ", ".join(each.letter.id for each in done.unreadable)
        raise InputError(f"nobody can read the payload of {which}, so it stays; see `crucible dlq show`")


def _outcomes(done: Replayed) -> list[dict[str, Any]]:
    queued = [{"id": each.letter.id, "run_id": each.run_id, "queued_again": True} for each in done.put_back]
    again = [
        {
            "id": each.letter.id,
            "evaluation_id": each.evaluation_id,
            "new_evaluation_id": comparison.evaluation_id,
            "classification": comparison.classification,
        }
        for each, comparison in done.again
    ]
    return queued + again


def _chosen(box: LetterBox, letter_ids: list[str] | None) -> list[Opened]:
    if letter_ids:
        return [box.find(each) for each in dict.fromkeys(letter_ids)]
    return list(box.letters())


async def _ledger_row(settings: Settings, evaluation_id: str | None) -> LedgerRow | None:
    if evaluation_id is None:
        return None
    async with opened_store(settings) as store:
        return await store.evaluation_state(evaluation_id)


def _in_words(outcome: dict[str, Any]) -> str:
    if "queued_again" in outcome:
        return f"{outcome['id']}: {outcome['run_id']} is on its queue again"
    return (
        f"{outcome['id']}: {outcome['evaluation_id']} → {outcome['new_evaluation_id']}: "
        f"{outcome['classification']}"
    )
