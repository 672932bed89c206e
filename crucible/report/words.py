"""The words and numbers of a report, the same on the terminal and on the page."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from crucible.models import LEGS, Classification, Comparison, Counts, SweepReport, Verdict
from crucible.report.visible import visible_text

SYMBOLS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the ledger."""

    name: str
    number: int
    meaning: str


def ledger_columns(counts: Counts) -> tuple[Column, ...]:
    """The six columns that add up to ``submitted``."""
    return (
        Column("matched", counts.matched, "both legs answered, equal byte for byte"),
        Column("mismatched", counts.mismatched, "the legs answered differently, confirmed by re-runs"),
        Column(
            "nondeterministic", counts.nondeterministic, "varies by itself: says nothing about the queues"
        ),
        Column("unpaired", counts.unpaired, "no answer from one leg or both"),
        Column("cancelled", counts.cancelled, "withdrawn before both legs had answered"),
        Column("not sampled", counts.not_sampled, "left out of the sample on purpose"),
    )


def bound_in_words(report: SweepReport) -> str:
    """What the upper bound on the mismatch rate means, as a sentence."""
    rate = report.mismatch_rate_upper
    if rate is None:
        return "Nothing was compared, so nothing can be said about the rate of mismatches."
    if rate >= 1:
        return "Nothing that was compared agreed, so there is no upper bound on the rate of mismatches."
    what = "differ or stay unanswered" if report.counts.unpaired else "differ"
    confidence = f"{report.confidence * 100:g} %"
    return f"With {confidence} confidence fewer than {percent_up(rate)} of evaluations like these {what}."


def percent_up(rate: float) -> str:
    """A rate in per cent with two significant digits, rounded up: an upper bound must not shrink."""
    percent = Decimal(rate) * 100
    step = Decimal(1).scaleb(percent.adjusted() - 1)
    return f"{percent.quantize(step, rounding=ROUND_CEILING).normalize():f} %"


def seconds(value: float) -> str:
    """A length of time with a unit that suits it: ``850 µs``, ``12.3 ms``, ``1.24 s``, ``2 min 05 s``."""
    if value >= 59.95:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
    if value >= 0.9995:
        return f"{value:.3g} s"
    if value >= 0.0009995:
        return f"{value * 1000:.3g} ms"
    return f"{value * 1e6:.0f} µs" if value else "0 s"


def many(number: int, noun: str, ending: str = "s") -> str:
    """``1 line``, ``2,000 lines``; ``ending`` is that of the plural."""
    return f"{number:,} {noun}{ending if number != 1 else ''}"


def of_classification(comparisons: Iterable[Comparison], wanted: Classification) -> tuple[Comparison, ...]:
    """The comparisons that were classified as ``wanted``."""
    return tuple(comparison for comparison in comparisons if comparison.classification is wanted)


def reason_missing(comparison: Comparison) -> str:
    """Why a side is missing, by leg, as one line of safe text."""
    said = [f"{leg}: {visible_text(comparison.reasons[leg])}" for leg in LEGS if leg in comparison.reasons]
    return "; ".join(said) or "no reason was given"


def grouped_by_reason(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """Unpaired comparisons by the reason why a side is missing, the commonest reason first."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(reason_missing(comparison), []).append(comparison)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def flow_run_links(report: SweepReport) -> dict[str, str]:
    """Address of a flow run's page by its id, for every flow run the report or its details name.

    Addresses that are not given are derived from those that are; ones that are not http(s) are left out.
    """
    given = dict(zip(report.flow_run_ids, report.flow_run_urls, strict=False))
    base = next((url.removesuffix(name) for name, url in given.items() if url.endswith(name)), None)
    named = {name for comparison in report.details for name in comparison.flow_run_ids}
    derived = {name: base + name for name in named if base is not None}
    links = derived | given
    return {name: url for name, url in links.items() if url.startswith(("http://", "https://"))}
