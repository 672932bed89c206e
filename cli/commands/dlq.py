"""``crucible dlq``: dead letters, which are what a leg has given up delivering."""

from typing import Annotated, Any

import typer

from cli import foreground
from cli.exits import Json, show
from cli.letters import LetterBox, Opened, letter_box
from cli.migration import on_store
from cli.sweeping import Replayed, replayed
from cli.terminal.letters_view import letter_document, letters_table, render_letter, whole_document
from crucible.errors import InputError
from crucible.models import Leg
from crucible.settings import Settings, load

app = typer.Typer(
    help="""Look after dead letters: what a leg has given up delivering.

A payload that nobody can read becomes one at once; so does a run that was taken again and again and never
answered, as when it takes its worker with it. Each letter has the reason, and the payload byte for byte.
"""
)


@app.command("list")
def list_letters(
    *,
    leg: Annotated[Leg | None, typer.Option(help="Those of one leg alone.")] = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the oldest first, each leg's newest 10,000. Exit 0, whether there are any or not.

    Example: crucible dlq list --leg celery
    """
    with letter_box(load(Settings)) as box:
        found = list(box.letters(leg))
    view = letters_table(found) if found else "no dead letters"
    show({"letters": [letter_document(each) for each in found]}, view, as_json=as_json)


@app.command("show")
def show_letter(
    *,
    letter_id: Annotated[str, typer.Argument(help="The letter, by its id (dl-…).", metavar="ID")],
    as_json: Json = False,
) -> None:
    r"""Show one dead letter: why it is one, its payload, and what the ledger says of its evaluation.

    Nothing in a payload can control the terminal: such bytes are shown as \xNN. Exit 2 when there is none of
    that id.

    Example: crucible dlq show dl-legacy-3
    """
    with letter_box(load(Settings)) as box:
        opened = box.find(letter_id)
    evaluation_id = opened.evaluation_id
    state = on_store(lambda store: store.evaluation_state(evaluation_id)) if evaluation_id else None
    show(whole_document(opened, state), render_letter(opened, state), as_json=as_json, soft_wrap=True)


@app.command("replay")
def replay(
    *,
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="Letters, by their ids (dl-…).", metavar="[ID]...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters of both legs.")] = False,
    as_json: Json = False,
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
    unreadable = [each.letter.id for each in done.unreadable]
    document = {"replayed": outcomes, "unreadable": unreadable}
    show(document, "\n".join(map(_in_words, outcomes)), as_json=as_json)
    if unreadable:
        which = ", ".join(unreadable)
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


def _in_words(outcome: dict[str, Any]) -> str:
    if "queued_again" in outcome:
        return f"{outcome['id']}: {outcome['run_id']} is on its queue again"
    return (
        f"{outcome['id']}: {outcome['evaluation_id']} → {outcome['new_evaluation_id']}: "
        f"{outcome['classification']}"
    )
