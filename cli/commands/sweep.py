"""``crucible sweep``: corpora through both legs, and a verdict."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli import foreground
from cli.exits import Json, of_verdict, show
from cli.sweeping import Wish, run_sweep
from cli.terminal.report_view import render_report
from crucible.errors import InputError
from crucible.report.write import write_report
from crucible.settings import Settings, load
from crucible.verdict import MIN_EVALUATIONS

_PRINTED = {
    "sweep_id",
    "verdict",
    "reasons",
    "counts",
    "mismatch_rate_upper",
    "confidence",
    "throughput_per_s",
    "duration_s",
    "flow_run_ids",
    "skipped",
    "causes",
}


def command(
    *,
    corpora: Annotated[list[Path], typer.Argument(help="Corpus files (JSON Lines).", metavar="CORPUS...")],
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take the first N evaluations only.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for report.html, report.json and junit.xml; new in the home folder when not given.",
        ),
    ] = None,
    min_evaluations: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="With fewer equal pairs than N the verdict is inconclusive."),
    ] = MIN_EVALUATIONS,
    ignore_expectations: Annotated[
        bool,
        typer.Option(
            "--ignore-expectations",
            help="Do not fail where both legs agree and miss the corpus' expectation.",
        ),
    ] = False,
    skip_unavailable: Annotated[
        bool,
        typer.Option(
            "--skip-unavailable", help="Leave out evaluations whose language has no toolchain here."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run every evaluation on both legs, compare the answers byte for byte, and judge.

    Exit 0 pass, 1 fail, 2 bad input, 3 inconclusive, 4 platform fault. Starts a local stack and stops
    it again unless one is up.

    Example: crucible sweep corpora/bundled.jsonl --limit 20 --report out
    """
    settings = load(Settings)
    wish = Wish(
        corpora=tuple(corpora),
        limit=limit,
        min_evaluations=min_evaluations,
        ignore_expectations=ignore_expectations,
        skip_unavailable=skip_unavailable,
    )
    if report is not None:
        _make_folder(report)
    found = foreground.run(run_sweep(settings, wish))
    page = write_report(found, report or settings.home / "reports" / found.sweep_id)
    fields = found.model_dump(mode="json", include=_PRINTED)
    show({**fields, "report": str(page)}, render_report(found, page), as_json=as_json)
    raise typer.Exit(of_verdict(found.verdict))


def _make_folder(report: Path) -> None:
    """Before the sweep: after it there would be no place for what it found."""
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--report {report}: {error.strerror}; name a folder that can be written") from None
    if not os.access(report, os.W_OK):
        raise InputError(f"--report {report}: not writable; name a folder that can be written")
