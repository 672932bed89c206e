"""Reports and progress on the terminal."""

from collections.abc import Iterator
from io import StringIO
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from cli.terminal.progress_view import SweepProgress
from cli.terminal.report_view import SHOWN, render_comparison, render_report
from crucible.models import Counts, SweepReport


def printed(what: RenderableType) -> str:
    console = Console(file=StringIO(), width=120, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_the_verdict_comes_first_with_its_reasons_and_the_bound(full_report: SweepReport) -> None:
    lines = printed(render_report(full_report)).splitlines()
    assert lines[0] == "✗ FAIL"
    assert [line.strip() for line in lines[1:4]] == list(full_report.reasons)
    assert lines[4].strip().startswith("With 95 % confidence fewer than")


def test_each_mismatch_is_shown_as_a_diff(full_report: SweepReport) -> None:
    text = printed(render_report(full_report))
    assert "- two·→␊" in text
    assert "+ three␊" in text
    assert "⏎ missing at end of file" in text
    assert "memory_limit" in text


def test_beyond_ten_mismatches_the_rest_is_counted_and_the_page_named(full_report: SweepReport) -> None:
    one = full_report.details[0]
    many = full_report.model_copy(
        update={
            "details": tuple(one.model_copy(update={"name": f"case-{number:03}"}) for number in range(40)),
            "counts": Counts(submitted=500, mismatched=500),
        }
    )
    text = printed(render_report(many, Path("out/report.html")))
    assert text.count("✗ case-") == SHOWN
    assert "and 490 more mismatches; see out/report.html" in text


def test_unpaired_reasons_are_said_once_with_their_number(full_report: SweepReport) -> None:
    text = printed(render_report(full_report))
    assert "3 evaluations: celery: no answer within 120 s of its deadline" in text


def test_no_program_can_control_the_terminal(full_report: SweepReport) -> None:
    hostile = full_report.details[0].model_copy(update={"name": "\x1b[2J[red]name[/red]", "language": "\x07"})
    report = full_report.model_copy(update={"details": (hostile, *full_report.details[1:])})
    text = printed(render_report(report)) + "".join(printed(render_comparison(one)) for one in report.details)
    assert not set(text) & {chr(code) for code in (*range(32), *range(127, 160)) if chr(code) != "\n"}
    assert "\\x1b[2J[red]name[/red]" in text


@pytest.mark.parametrize(
    ("index", "headline"),
    [(0, "✗ mismatch"), (-5, "✗ unexpected"), (-4, "~ nondeterministic"), (-1, "∅ unpaired")],
)
def test_a_single_comparison_opens_with_its_classification(
    full_report: SweepReport, index: int, headline: str
) -> None:
    assert printed(render_comparison(full_report.details[index])).startswith(headline)


def test_without_a_terminal_progress_is_a_line_every_five_seconds_and_the_last_word() -> None:
    file = StringIO()
    seconds = _clock()
    with SweepProgress(30, Console(file=file, width=200), clock=lambda: next(seconds) / 2) as progress:
        for number in range(31):
            progress.update(Counts(submitted=30, matched=number), "comparing")
    lines = file.getvalue().splitlines()
    assert 2 < len(lines) < 20
    assert lines[-1].startswith("comparing: 30 of 30, ")
    assert lines[-1].endswith("; 30 matched, 0 mismatched, 0 unpaired")


def test_progress_keeps_off_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepProgress(2) as progress:
        progress.update(Counts(submitted=2, matched=1), "comparing")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "comparing: 1 of 2" in captured.err


def test_on_a_terminal_progress_is_a_bar_with_live_counts() -> None:
    file = StringIO()
    console = Console(file=file, width=160, force_terminal=True)
    with SweepProgress(None, console) as progress:
        progress.update(Counts(submitted=9, matched=4, mismatched=1), "confirming")
    assert "4 matched, 1 mismatched, 0 unpaired" in file.getvalue()


def _clock() -> Iterator[int]:
    return iter(count())
