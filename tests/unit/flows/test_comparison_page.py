"""What Prefect's pages show of a comparison: everything, and nothing of it as markup."""

import pytest

from crucible.models import Classification
from flows.artifacts import render_comparison
from tests.support.comparisons import differ


def test_equal_legs_are_shown_side_by_side() -> None:
    page = render_comparison(differ("out\n", "out\n"), "http://gateway/dashboard/evaluations/ev-1")
    assert page.startswith("# Match\n")
    assert "](http://gateway/dashboard/evaluations/ev-1)" in page
    assert "| outcome | ok | ok |" in page
    assert "## stdout\n\n```\nout\n```" in page
    assert "differs" not in page


def test_without_a_gateway_there_is_no_link() -> None:
    assert "](" not in render_comparison(differ("a", "a"), None)


def test_what_differs_is_marked_and_shown_as_a_difference() -> None:
    page = render_comparison(differ("a\n", "b\n"), None)
    assert "# Mismatch" in page
    assert "| **differs** | stdout |" in page
    assert "## stdout differs\n\n```diff\n" in page
    assert "\n-a␊\n+b␊\n" in page


@pytest.mark.parametrize("output", ["```\n# not a heading", "~~~\n````\n`````", "`"])
def test_no_output_ends_the_block_it_is_in(output: str) -> None:
    page = render_comparison(differ(output, output), None)
    block = page[page.index("## stdout") :]
    fence = block.splitlines()[2]
    assert set(fence) == {"`"}
    inside, _, rest = block.split("\n", 3)[3].rpartition(f"\n{fence}\n")
    assert fence not in inside
    assert rest.strip() == ""


def test_a_side_that_is_missing_says_why_and_shows_the_other() -> None:
    missing = differ("out", "out").model_copy(
        update={
            "celery": None,
            "classification": Classification.UNPAIRED,
            "reasons": {"celery": "no <b>answer</b> | at all"},
        }
    )
    page = render_comparison(missing, None)
    assert r"celery: no \<b\>answer\</b\> \| at all" in page
    assert "| outcome | ok | no answer |" in page
