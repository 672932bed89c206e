"""The sentences and numbers of a report."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.models import Counts, SweepReport
from crucible.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.00085, "850 µs"),
        (0.0123, "12.3 ms"),
        (0.9999, "1 s"),
        (1.236, "1.24 s"),
        (59.97, "1 min 00 s"),
        (125, "2 min 05 s"),
        (7260, "2 h 01 min"),
    ],
)
def test_times_carry_a_unit_that_suits_them(value: float, text: str) -> None:
    assert words.seconds(value) == text


@given(st.floats(min_value=1e-9, max_value=0.999))
def test_a_bound_is_never_shown_smaller_than_it_is(rate: float) -> None:
    shown = Decimal(words.percent_up(rate).removesuffix(" %"))
    assert Decimal(rate) * 100 <= shown <= Decimal(rate) * Decimal(111)


def test_a_clean_sweep_bounds_the_rate_in_words(passed_report: SweepReport) -> None:
    assert words.bound_in_words(passed_report) == (
        "With 95 % confidence fewer than 1.9 % of evaluations like these differ."
    )


def test_no_comparison_gives_no_bound(passed_report: SweepReport) -> None:
    empty = passed_report.model_copy(update={"mismatch_rate_upper": None})
    assert words.bound_in_words(empty).startswith("Nothing was compared")


def test_the_columns_of_the_ledger_add_up_to_what_was_settled(full_report: SweepReport) -> None:
    assert (
        sum(column.number for column in words.ledger_columns(full_report.counts))
        == full_report.counts.settled
    )
    assert sum(column.number for column in words.ledger_columns(Counts(matched=1, not_sampled=2))) == 3


def test_a_flow_run_without_an_address_gets_one_like_the_others(full_report: SweepReport) -> None:
    links = words.flow_run_links(full_report)
    confirming = full_report.details[0].flow_run_ids[0]
    assert confirming not in full_report.flow_run_ids
    assert links[confirming] == f"http://127.0.0.1:4200/runs/flow-run/{confirming}"


def test_an_address_that_is_not_http_is_no_link(full_report: SweepReport) -> None:
    forged = full_report.model_copy(update={"flow_run_urls": ("javascript:alert(1)",)})
    assert words.flow_run_links(forged) == {}


def test_unpaired_ones_are_grouped_by_reason_the_commonest_first(full_report: SweepReport) -> None:
    unpaired = [
        comparison for comparison in full_report.details if comparison.legacy and not comparison.celery
    ]
    other = unpaired[0].model_copy(update={"reasons": {"legacy": "dead letter"}})
    groups = words.grouped_by_reason([other, *unpaired])
    assert list(groups) == ["celery: no answer within 120 s of its deadline", "legacy: dead letter"]
