"""What of a report is shown on pages that are not ours."""

from pathlib import Path
from xml.etree import ElementTree as ET

from crucible.models import SweepReport
from crucible.report.markdown import render_markdown
from crucible.report.summary import LatencyRecorder
from crucible.report.svg import latency_svg

SVG = "{http://www.w3.org/2000/svg}"


def test_the_plot_is_a_document_of_its_own_with_both_legs_and_a_key(full_report: SweepReport) -> None:
    root = ET.fromstring(latency_svg(full_report.latency) or "")
    assert root.tag == f"{SVG}svg"
    assert (root.get("width"), root.get("height")) == ("880", "330")
    bars = {group.get("class"): len(list(group)) for group in root.iter(f"{SVG}g")}
    assert set(bars) == {"bars legacy", "bars celery"}
    assert all(bars.values())
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert {"median", "95 % within", "legacy ↑", "celery ↓"} <= set(said)


def test_the_plot_needs_nothing_from_elsewhere_and_is_readable_in_the_dark(full_report: SweepReport) -> None:
    drawing = latency_svg(full_report.latency) or ""
    assert "prefers-color-scheme: dark" in drawing
    assert drawing.replace("http://www.w3.org/2000/svg", "").count("http") == 0
    assert all(word not in drawing for word in ("url(", "@import", "<script", "href"))


def test_where_nothing_ran_there_is_no_plot() -> None:
    nothing = LatencyRecorder().summary()
    assert latency_svg({"legacy": nothing, "celery": nothing}) is None
    assert latency_svg({}) is None


def test_a_verdict_in_markdown_has_reasons_counts_plot_and_where_to_read_on(full_report: SweepReport) -> None:
    page = Path("/reports/report.html")
    text = render_markdown(full_report, page, "http://api/plot.svg", "the webhook was told")
    assert text.startswith("# ✗ Fail\n")
    assert all(f"- {reason}\n" in text for reason in full_report.reasons)
    assert f"| mismatched | {full_report.counts.mismatched:,} |" in text
    assert "](http://api/plot.svg)" in text
    assert f"[{full_report.sweep_id}]({full_report.flow_run_urls[0]})" in text
    assert str(page) in text
    assert "the webhook was told" in text


def test_a_verdict_without_addresses_has_no_broken_links(passed_report: SweepReport) -> None:
    report = passed_report.model_copy(update={"flow_run_urls": ()})
    assert "](" not in render_markdown(report, Path("report.html"), None, "nobody was told")
