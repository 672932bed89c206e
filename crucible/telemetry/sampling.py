"""Which traces are recorded: decided once, where a trace begins, by what it is of."""

from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from crucible.telemetry.roots import Root, root_in
from crucible.telemetry.settings import TraceSettings


def sampler_of(settings: TraceSettings) -> Sampler:
    """Children do as their parents do; a span that belongs to nothing is not recorded."""
    ratios = {
        Root.TRAFFIC: TraceIdRatioBased(settings.ratio),
        Root.SWEEP: TraceIdRatioBased(settings.sweep_ratio),
        Root.ALWAYS: TraceIdRatioBased(1.0),
    }
    return ParentBased(_ByKind(ratios))


class _ByKind(Sampler):
    def __init__(self, ratios: Mapping[Root, Sampler]) -> None:
        self._ratios = ratios

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See ``Sampler.should_sample``."""
        of = root_in(parent_context)
        if of is None:
            return SamplingResult(Decision.DROP)
        return self._ratios[of].should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See ``Sampler.get_description``."""
        return "ByKind"
