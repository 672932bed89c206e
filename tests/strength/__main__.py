"""``python -m tests.strength``: plant the same faults one by one, and count those that tests catch."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tests.strength.areas import AREAS
from tests.strength.faults import chosen
from tests.strength.tree import ROOT
from tests.strength.trial import Trial

_FAULTS = Path(__file__).with_name("faults.txt")


def main(
    *,
    work: Annotated[Path, typer.Option(help="Copies and what is known; the next run goes on there.")] = ROOT
    / "build/strength",
    jobs: Annotated[int, typer.Option(min=1, help="Faults that are tried at once.")] = 2,
    choose: Annotated[int | None, typer.Option(help="Only choose other faults, by this seed.")] = None,
    in_each: Annotated[int, typer.Option(min=1, help="Faults to choose in each area.")] = 22,
) -> None:
    """Plant the faults of ``faults.txt`` in copies of this tree and run the tests that execute them.

    Exit 0 whatever they catch: what survives is for somebody to read.
    """
    if choose is not None:
        _FAULTS.write_text("".join(f"{area}\t{name}\n" for area, name in chosen(ROOT, choose, in_each)))
        return
    work.mkdir(parents=True, exist_ok=True)
    trial = Trial(_FAULTS.read_text().splitlines(), work.resolve(), jobs)
    trial.run()
    for area in AREAS:
        outcomes = [each["outcome"] for each in trial.results.values() if each["area"] == area]
        there = len(outcomes) - outcomes.count("gone")
        sys.stdout.write(f"{area:13} {outcomes.count('caught'):3} of {there} caught\n")
    for name, each in trial.results.items():
        if each["outcome"] != "caught":
            sys.stdout.write(f"{each['outcome']}: {name}\n")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
