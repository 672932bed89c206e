"""Figures as tables, and the document that keeps them."""

from pathlib import Path

import pytest

from bench.figures import Figures, Measured, ratios
from bench.tables import Grid, Report, check, grids, markdown, markers, rewrite
from crucible.errors import InputError

FIGURES = markers("figures")
GRID = Grid("Ratios", ("", "measured", "met"), (("sweep / chord", "1.70", "yes"),))


def run(contender="sweep", evaluations=200, seconds=10.0, **more) -> Measured:
    fields = {
        "cpu_s": {"client": 1.0, "executor-1": 9.0},
        "programs_cpu_s": 6.0,
        "machine_cpu_s": 20.0,
        "peak_mb": 1234.0,
        "client_peak_mb": 99.5,
    }
    return Measured(contender, evaluations, seconds, **{**fields, **more})


@pytest.fixture
def found() -> Figures:
    return Figures(
        algorithms={
            "bare": [run("bare", seconds=each) for each in (5.0, 4.0, 8.0)],
            "chord": [run("chord", seconds=20.0)] * 3,
            "sweep": [run()] * 3,
        },
        nothing={
            "chord": [run("chord", cpu_s={"client": 3.0, "executor-1": 9.0, "chord-worker": 1.0})] * 3,
            "sweep": [run()] * 3,
        },
        sizes={100: [run(evaluations=100)], 500: [run(evaluations=500)]},
    )


def test_figures_replace_those_between_the_markers_and_nothing_else(tmp_path: Path):
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Ours\n\n{FIGURES.begin}\nold\n{FIGURES.end}\n\nThe end.\n")
    rewrite(document, "figures", Report({"CPU": "a fast one"}, [GRID], {}))
    once = document.read_text()
    rewrite(document, "figures", Report({"CPU": "a fast one"}, [GRID], {}))
    assert document.read_text() == once
    assert once.startswith("# Ours\n\n")
    assert once.endswith("\n\nThe end.\n")
    assert "old" not in once
    assert "- CPU: a fast one" in once
    assert "| sweep / chord | 1.70 | yes |" in once


@pytest.mark.parametrize("text", ["", FIGURES.begin, f"{FIGURES.end}\n{FIGURES.begin}"])
def test_a_document_without_both_markers_is_refused_before_anything_is_measured(tmp_path: Path, text: str):
    document = tmp_path / "benchmarks.md"
    document.write_text(text)
    with pytest.raises(InputError, match="figures go between"):
        check(document, "figures")


def test_a_document_that_is_missing_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path / "nowhere.md", "figures")


def test_a_table_in_markdown_has_its_numbers_to_the_right():
    assert markdown(GRID).splitlines() == [
        "### Ratios",
        "",
        "|  | measured | met |",
        "| --- | ---: | ---: |",
        "| sweep / chord | 1.70 | yes |",
    ]


def test_every_row_is_as_wide_as_its_heading(found: Figures):
    for grid in grids(found, ratios(found)):
        assert {len(row) for row in grid.rows} == {len(grid.columns)}


def test_repetitions_show_their_range_and_single_runs_do_not(found: Figures):
    _, algorithms, _, sizes, _ = grids(found, ratios(found))
    assert "3 times by turns" in algorithms.title
    assert algorithms.rows[0][:2] == ("bare limit", "40.0 (25.0-50.0)")
    assert algorithms.rows[1][1] == "10.0"
    assert sizes.rows[0][0] == "100 evaluations"


def test_a_process_that_one_contender_lacks_is_left_empty(found: Figures):
    by_process = {row[0]: row[1:] for row in grids(found, ratios(found))[-1].rows}
    assert by_process["chord-worker"] == ("5.00", "")
    assert by_process["sweeping process"] == ("", "5.00")
