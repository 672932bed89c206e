"""``crucible evidence``: what counts of pairs and mismatches say, and how many more it takes."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from cli.exits import Json, show
from crucible.evidence import Evidence, Question, evidence

_USUAL = Question()


def command(
    *,
    pairs: Annotated[
        int, typer.Option(metavar="N", help="Pairs compared, those without an answer included.")
    ],
    mismatches: Annotated[
        int, typer.Option(metavar="M", help="How many of them disagreed or lacked an answer.")
    ] = 0,
    p0: Annotated[
        float, typer.Option("--p0", metavar="RATE", help="The mismatch rate that must be ruled out.")
    ] = _USUAL.p0,
    alpha: Annotated[
        float, typer.Option(metavar="P", help="How often a GO may be wrong, over all looks together.")
    ] = _USUAL.alpha,
    as_json: Json = False,
) -> None:
    """Tell whether counts rule out a mismatch rate of p0 or more, however often one has looked.

    Exit 0 whatever the answer. Without a GO it says how many more pairs it takes at the rate seen so far.

    Example: crucible evidence --pairs 325 --mismatches 0
    """
    question = Question(p0, alpha)
    found = evidence(pairs, mismatches, question)
    show(asdict(found), _worded(found, question), as_json=as_json)


def _worded(found: Evidence, question: Question) -> Text:
    verdict = ("GO", "bold green") if found.go else ("not yet", "bold yellow")
    if found.pairs_to_go is None:
        verdict = ("NO", "bold red")
    confidence = f"with {1 - question.alpha:.0%} confidence at all looks together"
    return Text.assemble(
        verdict,
        f"  e-value {found.e_value:,.2f}; {1 / question.alpha:g} are a GO\n",
        f"    The mismatch rate is below {found.mismatch_rate_upper:.4%}, {confidence}.\n",
        f"    {_to_go(found, question)}",
    )


def _to_go(found: Evidence, question: Question) -> str:
    bound = f"below {question.p0:.4g}"
    if found.go:
        return f"It is {bound}: enough."
    if found.pairs_to_go is None:
        return f"It will never be shown to be {bound} at the rate seen so far: mend the causes first."
    return f"{found.pairs_to_go:,} more pairs show it to be {bound}, if mismatches go on as so far."
