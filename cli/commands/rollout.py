"""``crucible rollout``: where the migration stands, one step ahead, and back at once."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from cli.exits import Exit, Json, show
from cli.migration import on_store, operator, parse_rule
from cli.terminal.rollout_view import (
    render_change,
    render_log,
    render_moment,
    render_plan,
    render_refusal,
    render_status,
)
from crucible.errors import GateRefused, InputError
from crucible.rollout.assessment import Assessment
from crucible.rollout.stage import Rollout, Stage
from crucible.rollout.status import Moment, drive, plan
from crucible.store.rollout import Change, RolloutStore

app = typer.Typer(
    help="""Move answers from legacy to Celery, only as far as the evidence goes, and back at once.

The stages: legacy; shadow (both legs run, legacy answers); canary (both run, Celery answers a share);
live (Celery answers, legacy shadows a sample); celery (legacy is off). Every change goes into a log
that verify recomputes.
"""
)

Actor = Annotated[str, typer.Option(default_factory=operator, metavar="NAME", help="Who asks, for the log.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the log.")]


@app.command("status")
def show_status(*, as_json: Json = False) -> None:
    """Show where the migration stands, who changed it last, and what every gate says and why.

    Exit 0 whatever it says.

    Example: crucible rollout status
    """
    found = _on_store(lambda books: books.status())
    show(_plain(found), render_status(found), as_json=as_json)


@app.command("plan")
def show_plan(*, as_json: Json = False) -> None:
    """List the steps from here to Celery alone, and what each takes. Nothing is changed.

    Example: crucible rollout plan
    """

    async def asked(books: RolloutStore) -> tuple[Rollout, Any]:
        return await books.state(), (await books.epoch()).key.policy

    state, policy = _on_store(asked)
    steps = plan(state, policy)
    document = {"stage": state.stage, "share": state.share, "steps": [_plain(step) for step in steps]}
    show(document, render_plan(state, steps), as_json=as_json)


@app.command("advance")
def advance(*, actor: Actor, reason: Reason = "", as_json: Json = False) -> None:
    """Go one step ahead, if every gate says GO.

    Exit 1 when one refuses; nothing is changed then, and all gates are shown, with what each still needs.

    Example: crucible rollout advance --reason "all quiet over the weekend"
    """
    _change(lambda books: books.advance(actor, reason), as_json)


@app.command("rollback")
def rollback(
    *,
    to: Annotated[Stage, typer.Option(help="Back to which stage.")] = Stage.LEGACY,
    actor: Actor,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Go back to legacy at once, asking nothing.

    What Celery has not answered yet is answered by legacy. The epoch is over: to go forward again takes a
    changed build, rule or limit, or set --new-epoch.

    Example: crucible rollout rollback
    """
    _change(lambda books: books.rollback(actor, reason, to), as_json)


@app.command("set")
def change(
    *,
    stage: Annotated[Stage | None, typer.Option(help="The stage.")] = None,
    share: Annotated[
        float | None, typer.Option(min=0, max=100, metavar="PERCENT", help="Celery's share at canary.")
    ] = None,
    sample: Annotated[
        float | None,
        typer.Option(min=0, max=100, metavar="PERCENT", help="What legacy shadows of Celery's at live."),
    ] = None,
    hold: Annotated[
        bool | None, typer.Option("--hold/--no-hold", help="Let nothing go forward; let it again.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="A share of their own for some evaluations, as in share=0,language=perl; may stand more"
            " than once, the first that fits decides. Replaces all rules there are.",
        ),
    ] = None,
    no_rules: Annotated[bool, typer.Option("--no-rules", help="Drop all rules.")] = False,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="Forget the evidence; from beyond shadow, back to it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Ask no gate. The log says so for ever.")] = False,
    actor: Actor,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Change one thing or another. What gives Celery more answers has to pass the gates, unless forced.

    Exit 1 when a gate refuses; nothing is changed then.

    Example: crucible rollout set --rule share=0,language=perl --reason "Perl is not ready"
    """
    if rule and no_rules:
        raise InputError("--rule and --no-rules contradict each other; give one of them")
    rules = tuple(map(parse_rule, rule)) if rule else () if no_rules else None
    wished = {"stage": stage, "share": share, "sample": sample, "held": hold, "rules": rules}
    changes: dict[str, Any] = {name: value for name, value in wished.items() if value is not None}
    _change(lambda books: books.set(actor, reason, force=force, new_epoch=new_epoch, **changes), as_json)


@app.command("log")
def show_log(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the newest changes.")] = 20,
    as_json: Json = False,
) -> None:
    """List the changes of the migration, the newest last: who, when, what and why.

    Example: crucible rollout log
    """
    found = _on_store(lambda books: books.history(limit))
    show({"entries": [_plain(entry) for entry in found]}, render_log(found), as_json=as_json)


@app.command("verify")
def verify(*, as_json: Json = False) -> None:
    """Recompute every change from the raw pairs, and hold the log against it. Exit 1 when something differs.

    Example: crucible rollout verify
    """
    found = _on_store(lambda books: books.verify())
    verdict = "all holds" if found.ok else f"{len(found.faults):,} faults"
    lines = [f"{found.entries:,} changes and {found.pairs:,} pairs recomputed: {verdict}"]
    lines += [f"  {fault}" for fault in found.faults]
    document = {"ok": found.ok, "entries": found.entries, "pairs": found.pairs, "faults": found.faults}
    show(document, "\n".join(lines), as_json=as_json)
    raise typer.Exit(Exit.OK if found.ok else Exit.FAILED)


@app.command("run")
def run(
    *,
    until: Annotated[Stage, typer.Option(help="Stop when this stage is reached.")] = Stage.CELERY,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Seconds between two looks at the gates.")
    ] = 10,
    actor: Actor,
    reason: Reason = "the gates said GO",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each look.")] = False,
) -> None:
    """Go ahead by itself whenever the gates allow it, until a stage is reached or the migration turns back.

    Exit 0 at that stage, 1 after a rollback. Ctrl-C ends it; the migration stays where it is then.

    Example: crucible rollout run --until live
    """

    async def followed(books: RolloutStore) -> Rollout:
        async for moment in drive(books, actor, reason, until=until, every_s=every):
            _tell(moment, as_json)
            last = moment.rollout
        return last

    found = _on_store(followed)
    raise typer.Exit(Exit.OK if found.stage.rank >= until.rank else Exit.FAILED)


def _on_store(work: Callable[[RolloutStore], Awaitable[Any]]) -> Any:
    return on_store(lambda store: work(store.rollout))


def _change(work: Callable[[RolloutStore], Awaitable[Change]], as_json: bool) -> None:
    try:
        done = _on_store(work)
    except GateRefused as refusal:
        found = refusal.assessment
        if not isinstance(found, Assessment):
            raise
        view = render_refusal("Refused; nothing was changed.", found)
        show({"refused": str(refusal), **_plain(found)}, view, as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    document = {"before": _plain(done.before), "after": _plain(done.after)}
    show(document, render_change(done.before, done.after), as_json=as_json)


def _tell(moment: Moment, as_json: bool) -> None:
    if as_json:
        refusing = [] if moment.refused is None else moment.refused.refusing
        typer.echo(json.dumps({**_plain(moment.rollout), "refusing": [gate.name for gate in refusing]}))
    else:
        Console().print(render_moment(moment))


def _plain(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json")
