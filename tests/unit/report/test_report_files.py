"""The files of a report: faithful, whole, and readable by build servers."""

import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest

from crucible.errors import InputError
from crucible.models import SweepReport
from crucible.report.write import render_junit, write_report


def test_the_json_reads_back_as_the_same_report(full_report: SweepReport, tmp_path: Path) -> None:
    page = write_report(full_report, tmp_path / "a" / "b")
    assert page == tmp_path / "a" / "b" / "report.html"
    again = SweepReport.model_validate_json((page.parent / "report.json").read_bytes())
    assert again == full_report


def test_writing_again_replaces_the_files_and_leaves_nothing_else(
    full_report: SweepReport, passed_report: SweepReport, tmp_path: Path
) -> None:
    write_report(full_report, tmp_path)
    write_report(passed_report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "report.html", "report.json"]
    assert SweepReport.model_validate_json((tmp_path / "report.json").read_bytes()) == passed_report


def test_others_may_read_the_files_as_far_as_the_umask_allows(
    passed_report: SweepReport, tmp_path: Path
) -> None:
    umask = os.umask(0o022)
    try:
        page = write_report(passed_report, tmp_path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_folder_that_is_a_file_is_the_callers_fault(passed_report: SweepReport, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(InputError, match=r"taken.*name a writable folder with --report"):
        write_report(passed_report, taken)
    assert taken.read_text() == "mine"


def test_a_failed_write_leaves_no_draft_behind(passed_report: SweepReport, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(passed_report, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_suite_counts_what_the_ledger_counts(full_report: SweepReport) -> None:
    suites = ElementTree.fromstring(render_junit(full_report))
    suite = suites[0]
    counts = full_report.counts
    assert suites.attrib["tests"] == suite.attrib["tests"] == str(counts.submitted)
    assert suite.attrib["failures"] == str(counts.mismatched + counts.unexpected)
    assert suite.attrib["errors"] == str(counts.unpaired)
    assert suite.attrib["skipped"] == str(counts.not_sampled + counts.cancelled + counts.nondeterministic)


def test_each_detail_is_a_case_of_the_kind_it_is_counted_as(full_report: SweepReport) -> None:
    suite = ElementTree.fromstring(render_junit(full_report))[0]
    counts = full_report.counts
    assert len(suite.findall("testcase")) == len(full_report.details)
    assert len(suite.findall("testcase/failure")) == counts.mismatched + counts.unexpected
    assert len(suite.findall("testcase/error")) == counts.unpaired
    assert len(suite.findall("testcase/skipped")) == counts.nondeterministic


def test_hostile_output_is_legible_in_the_xml(full_report: SweepReport) -> None:
    suite = ElementTree.fromstring(render_junit(full_report))[0]
    said = {case.attrib["name"]: case.findtext("failure", "") for case in suite.findall("testcase")}
    assert "- \\x1b[2J\\x1b]0;owned\\x07red\\x1b[31m␊" in said["escape-sequences"]
    assert "- a␀b\\xff\\xfe␊" in said["nul-and-invalid-utf8"]
    assert "</script>" in said["closes-the-script"]


def test_a_name_that_xml_cannot_hold_is_escaped(full_report: SweepReport) -> None:
    odd = full_report.details[0].model_copy(update={"name": "a\x00\x1b\ufffe"})
    suite = ElementTree.fromstring(render_junit(full_report.model_copy(update={"details": (odd,)})))[0]
    assert suite.findall("testcase")[0].attrib["name"] == "a␀\\x1b\\xef\\xbf\\xbe"
