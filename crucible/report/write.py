"""The three files of a report.

The JUnit suite's numbers are those of the ledger. Only the comparisons worth reading are listed as test
cases, so a sweep of a million evaluations stays a small file.
"""

from pathlib import Path
from secrets import token_hex
from xml.etree import ElementTree

from crucible.errors import InputError
from crucible.models import Classification, Comparison, SweepReport
from crucible.report import sides, words
from crucible.report.html import render_html
from crucible.report.visible import visible_text


def render_junit(report: SweepReport) -> bytes:
    """The XML document, in UTF-8. What XML 1.0 cannot hold is escaped visibly.

    tests = submitted, failures = mismatched + unexpected, errors = unpaired,
    skipped = not sampled + cancelled + nondeterministic.
    """
    counts = report.counts
    suite = ElementTree.Element(
        "testsuite",
        name=visible_text(f"sweep {report.sweep_id}"),
        tests=str(counts.submitted),
        failures=str(counts.mismatched + counts.unexpected),
        errors=str(counts.unpaired),
        skipped=str(counts.not_sampled + counts.cancelled + counts.nondeterministic),
        time=f"{report.duration_s:.3f}",
        timestamp=report.started_at.isoformat(),
    )
    _add_properties(suite, report)
    for comparison in report.details:
        _add_case(suite, comparison)
    totals = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped", "time")}
    suites = ElementTree.Element("testsuites", {"name": "crucible", **totals})
    suites.append(suite)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_properties(suite: ElementTree.Element, report: SweepReport) -> None:
    properties = ElementTree.SubElement(suite, "properties")
    said = {
        "verdict": report.verdict.value,
        "reasons": "; ".join(report.reasons),
        "bound": words.bound_in_words(report),
        "matched": str(report.counts.matched),
        "details_omitted": str(report.details_omitted),
        "crucible_version": report.crucible_version,
    }
    for name, value in said.items():
        ElementTree.SubElement(properties, "property", name=name, value=visible_text(value))


def _add_case(suite: ElementTree.Element, comparison: Comparison) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=visible_text(f"crucible.{comparison.language}"),
        name=visible_text(comparison.name),
        time=f"{_slower_leg_s(comparison):.3f}",
    )
    match comparison.classification:
        case Classification.MISMATCH:
            _add_result(case, "failure", f"differs in {sides.differing_fields(comparison)}", comparison)
        case Classification.UNPAIRED:
            _add_result(case, "error", words.reason_missing(comparison), comparison)
        case Classification.MATCH:
            if comparison.unexpected:
                missed = "; ".join(visible_text(sentence) for sentence in comparison.missed_expectations)
                _add_result(case, "failure", missed, comparison)
        case Classification.NONDETERMINISTIC | Classification.CANCELLED | Classification.NOT_SAMPLED:
            ElementTree.SubElement(case, "skipped", message=comparison.classification.value)


def _add_result(case: ElementTree.Element, tag: str, message: str, comparison: Comparison) -> None:
    kind = "unexpected" if comparison.unexpected else comparison.classification.value
    result = ElementTree.SubElement(case, tag, message=message, type=kind)
    lines = [
        f"{row.label}: legacy {row.legacy}, celery {row.celery}"
        for row in sides.rows(comparison)
        if row.compared and (row.differs or comparison.legacy is None or comparison.celery is None)
    ]
    for stream in sides.streams(comparison):
        if stream.diff:
            lines += [f"{stream.name} (- legacy, + celery):"]
            lines += [f"{line.kind.value} {line.text}" for line in stream.diff]
    if comparison.flow_run_ids:
        lines.append(f"flow runs: {', '.join(map(visible_text, comparison.flow_run_ids))}")
    result.text = "\n".join(lines)


def _slower_leg_s(comparison: Comparison) -> float:
    return max((side.duration_s for side in (comparison.legacy, comparison.celery) if side), default=0.0)


def write_report(report: SweepReport, folder: Path) -> Path:
    """Write ``report.json`` (faithful: it reads back as the same report), ``junit.xml`` and ``report.html``.

    Each file appears whole or not at all, and replaces one of the same name; ``folder`` is made when it
    is not there. Returns the path of ``report.html``. Raises ``InputError`` when the folder cannot be
    written: the caller's fault.
    """
    contents = {
        "report.json": report.model_dump_json(indent=2).encode() + b"\n",
        "junit.xml": render_junit(report),
        "report.html": render_html(report).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write_whole(folder / name, content)
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(
            f"the report cannot be written to {str(folder)!r} ({problem}); "
            "name a writable folder with --report"
        ) from error
    return folder / "report.html"


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
