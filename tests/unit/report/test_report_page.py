"""The report as a page in a browser."""

import re
from html.parser import HTMLParser

from crucible.fingerprints import causes
from crucible.models import SweepReport
from crucible.report.html import render_html

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_the_verdict_first_and_every_detail_after_it(full_report: SweepReport) -> None:
    page = Page(render_html(full_report))
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    body = page.text
    assert body.index("Fail") < body.index(full_report.reasons[0]) < body.index("Ledger")
    for comparison in full_report.details:
        assert comparison.name in body


def test_the_page_is_well_formed_and_ids_are_unique(full_report: SweepReport) -> None:
    page = Page(render_html(full_report))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_within_the_page_lead_somewhere(full_report: SweepReport) -> None:
    page = Page(render_html(full_report))
    ids = {attributes.get("id") for _, attributes in page.tags}
    inner = {attributes["href"] for tag, attributes in page.tags if tag == "a" and "href" in attributes}
    assert {href[1:] for href in inner if href and href.startswith("#")} <= ids


def test_nothing_is_loaded_from_anywhere(full_report: SweepReport) -> None:
    page = Page(render_html(full_report))
    loaded = [attributes.get("src") for _, attributes in page.tags if "src" in attributes]
    linked = [attributes.get("href") for tag, attributes in page.tags if tag == "link"]
    assert loaded == []
    assert linked == ["data:,"]


def test_programs_cannot_put_elements_on_the_page(full_report: SweepReport) -> None:
    hostile = full_report.details[1].model_copy(
        update={
            "name": '"><script>alert(1)</script>',
            "language": "<img src=x onerror=alert(1)>",
            "evaluation_id": '" onclick="alert(1)',
        }
    )
    page = Page(render_html(full_report.model_copy(update={"details": (hostile, *full_report.details)})))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert tags.count("img") == 0
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_no_control_character_reaches_the_page(full_report: SweepReport) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", render_html(full_report))


def test_the_plot_is_described_in_words(full_report: SweepReport) -> None:
    page = Page(render_html(full_report))
    assert "svg" in {tag for tag, _ in page.tags}
    assert re.search(r"Legacy: 1,223 runs, median [\d.]+ ms", page.text)


def test_a_sweep_that_compared_nothing_still_makes_a_page(passed_report: SweepReport) -> None:
    nothing = SweepReport(
        **{
            **passed_report.model_dump(),
            "counts": {},
            "latency": {},
            "slowest": (),
            "verdict": "inconclusive",
            "mismatch_rate_upper": None,
        }
    )
    assert "Nothing was compared" in Page(render_html(nothing)).text


def test_books_that_do_not_balance_are_shown_as_such(passed_report: SweepReport) -> None:
    counts = passed_report.counts.model_copy(update={"submitted": 170})
    text = Page(render_html(passed_report.model_copy(update={"counts": counts}))).text
    assert "the rows add up to 164" in text


def test_causes_stand_between_the_ledger_and_the_mismatches(full_report: SweepReport) -> None:
    found = causes(full_report.details)
    page = render_html(full_report.model_copy(update={"causes": found}))
    body = Page(page).text
    where = [body.rindex(each.digest) for each in found]
    assert found
    assert body.index("Ledger") < min(where) < max(where) < body.index("The two legs gave different answers")
    assert "Causes" not in Page(render_html(full_report)).text
