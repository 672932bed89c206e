"""Sweeps of a whole stack by the command line: the verdict, the report, and corpora written by others."""

import json
from pathlib import Path

import pytest

from crucible.models import SweepReport
from tests.support.command_line import CommandLine
from tests.support.corpora import awkward, beside, line, prints, write_corpus

pytestmark = pytest.mark.stack

_COLUMNS = ("matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled")


def test_a_sweep_passes_and_its_json_keeps_the_contract(crucible: CommandLine, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(20))
    swept = crucible.run("sweep", corpus, "--min-evaluations", "20", "--json")
    assert swept.code == 0, swept.stderr
    found = swept.document
    assert found["verdict"] == "pass"
    assert found["counts"] == dict.fromkeys((*_COLUMNS, "unexpected"), 0) | {"submitted": 20, "matched": 20}
    assert found["mismatch_rate_upper"] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert found["confidence"] == 0.95
    assert found["throughput_per_s"] == pytest.approx(20 / found["duration_s"], rel=0.01)
    assert len(found["flow_run_ids"]) == 2
    assert found["sweep_id"] in found["report"]


def test_the_report_is_three_files_and_reads_back(crucible: CommandLine, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(3))
    folder = tmp_path / ("long name " * 20) / ("of a folder " * 12)
    swept = crucible.run("sweep", corpus, "--limit", "2", "--report", folder, "--json")
    assert swept.code == 3, swept.stderr
    assert swept.document["verdict"] == "inconclusive"
    assert swept.document["report"] == str(folder / "report.html")
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "report.html", "report.json"]
    report = SweepReport.model_validate_json((folder / "report.json").read_bytes())
    assert json.loads(report.counts.model_dump_json()) == swept.document["counts"]
    assert report.counts.submitted == 2


def test_two_legs_that_agree_and_miss_the_expectation_are_no_pass(
    crucible: CommandLine, tmp_path: Path
) -> None:
    lines = [*prints(2), line("wrong twice", "print(2)", expect={"stdout": "3\n"})]
    corpus = write_corpus(tmp_path / "corpus.jsonl", lines)
    words = ("sweep", corpus, "--min-evaluations", "3")
    failed = crucible.run(*words)
    assert failed.code == 1
    assert "FAIL" in failed.stdout
    assert "wrong twice: stdout is '2\\n', expected '3\\n'" in failed.stdout
    assert crucible.run(*words, "--ignore-expectations").code == 0


def test_humaneval_and_its_mutants_are_alike_on_both_legs(crucible: CommandLine) -> None:
    corpora = beside("humaneval.jsonl"), beside("humaneval_mutated.jsonl")
    swept = crucible.run("sweep", *corpora, "--json")
    assert swept.code == 0, swept.stdout
    counts = swept.document["counts"]
    # On a busy machine a program at one of its limits does not always end the same way.
    assert counts["submitted"] == counts["matched"] + counts["nondeterministic"] == 328
    assert counts["matched"] >= 320


def test_awkward_programs_match_unless_they_are_declared_to_vary(
    crucible: CommandLine, tmp_path: Path
) -> None:
    corpus = awkward(tmp_path)
    lines = [json.loads(text) for text in corpus.read_text().splitlines()]
    varying = {each["id"] for each in lines if each.get("expect", {}).get("deterministic") is False}
    in_batches = crucible.with_settings(FLOW_CONFIRM_SINGLY="1")
    swept = in_batches.run("sweep", corpus, "--json")
    assert swept.code == 0, swept.stdout
    counts = swept.document["counts"]
    assert counts["submitted"] == counts["matched"] + counts["nondeterministic"] == len(lines)
    report = SweepReport.model_validate_json(
        Path(swept.document["report"]).with_name("report.json").read_bytes()
    )
    assert {each.name for each in report.details if each.differences} <= varying
    assert not [each.name for each in report.details if each.unexpected]
