"""Plots as documents of their own, for pages that are not ours."""

from collections.abc import Mapping

from crucible.models.sweep import LatencySummary
from crucible.report import plot
from crucible.report.reading import asset, environment


def latency_svg(latency: Mapping[str, LatencySummary]) -> str | None:
    """The latency of both legs as an SVG document that needs nothing else; null when neither ran anything.

    Light or dark as the reader's browser wishes. No word of any program is in it.
    """
    found = plot.latency_plot(dict(latency))
    if found is None:
        return None
    template = environment().get_template("latency.svg.jinja")
    return template.render(plot=found, drawing=plot, style=asset("palette.css", "plot.css"))
