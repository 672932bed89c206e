"""The spans of runs as their flow host sees them: whole runs, their legs, replies, comparing and settling.

Nothing is kept of runs that are not traced.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext

from crucible.errors import PlatformError
from crucible.ids import made_at
from crucible.models import Comparison, Leg
from crucible.store import NOISE_RUN, Work
from crucible.store.spans import SpanStore
from crucible.telemetry.settings import TraceSettings
from crucible.telemetry.spans import Root, begin, context_of, failed, link_to, root, sampled_anew, text_of
from tasks.exchange import Answer

_FRESH = timedelta(seconds=2)
"""What entered the ledger within this time nobody else has had in hand."""

Place = tuple[int, str]
"""A trace and a leg."""


@dataclass(slots=True)
class _Run:
    whole: Span
    trace_id: str
    legs: dict[Leg, Span] = field(default_factory=dict)
    settling: Span = INVALID_SPAN


class BatchTrace:
    """The traced runs of one batch, by their run ids; every method ignores those that are not traced."""

    def __init__(self, flow: Span, runs: Mapping[str, _Run], sent: Mapping[Place, SpanContext]) -> None:
        self._flow, self._runs, self._sent = flow, dict(runs), sent

    def began(self, flow_run_id: str) -> None:
        """Note which flow run this is."""
        self._flow.set_attribute("flow_run", flow_run_id)

    def asked(self, run_id: str, leg: Leg) -> str | None:
        """Note that ``leg`` is asked; returns the traceparent to send along, null where none is recorded."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        span = begin(f"{leg} leg", run.whole.get_span_context(), {"leg": leg})
        run.legs[leg] = span
        return text_of(span.get_span_context())

    def repeats(self, run_id: str, leg: Leg) -> tuple[SpanContext, ...]:
        """Where another flow host, that is no more, had sent this run before, as far as that is known."""
        run = self._runs.get(run_id)
        found = self._sent.get((run.whole.get_span_context().trace_id, leg)) if run and self._sent else None
        return (found,) if found else ()

    def answered(self, run_id: str, leg: Leg, answer: Answer) -> None:
        """Note what came of asking ``leg``."""
        run = self._runs.get(run_id)
        span = run.legs.pop(leg, None) if run else None
        if span is None:
            return
        if answer.finished_ms is not None:
            now_ns = time.time_ns()
            start_ns = min(answer.finished_ms * 1_000_000, now_ns)
            begin("reply", span.get_span_context(), {"leg": leg}, start_ns=start_ns).end(now_ns)
        if answer.observation is not None:
            seen = answer.observation
            span.set_attributes({"outcome": seen.outcome, "executor": seen.executor, "cpu_s": seen.cpu_s})
        else:
            failed(span, answer.reason or "no observation")
        span.end()

    @contextlib.contextmanager
    def comparing(self, run_id: str) -> Iterator[None]:
        """A span that lasts as long as comparing does."""
        run = self._runs.get(run_id)
        span = begin("compare", run.whole.get_span_context()) if run else INVALID_SPAN
        try:
            yield
        finally:
            span.end()

    def compared(self, run_id: str, comparison: Comparison, *, is_settled_next: bool) -> None:
        """Note the comparison; the run has ended with it unless it is settled next."""
        run = self._runs.get(run_id)
        if run is None:
            return
        run.whole.set_attribute("classification", comparison.classification)
        if is_settled_next:
            run.settling = begin("settle", run.whole.get_span_context())
        else:
            self._end(run_id)

    def settled(self, run_id: str, comparison: Comparison) -> None:
        """Note that the comparison is durable."""
        run = self._runs.get(run_id)
        if run is not None:
            run.settling.end()
            structlog.get_logger().info(
                "settled",
                evaluation=comparison.evaluation_id,
                trace_id=run.trace_id,
                classification=comparison.classification,
            )
            self._end(run_id)

    def close(self) -> None:
        """End what is still open: the batch is over, and those were not seen through."""
        for run_id in list(self._runs):
            for span in self._runs[run_id].legs.values():
                failed(span, "not seen through")
                span.end()
            failed(self._runs[run_id].whole, "not seen through")
            self._end(run_id)
        self._flow.end()

    def _end(self, run_id: str) -> None:
        self._runs.pop(run_id).whole.end()


class RunTraces:
    """Opens the traces of batches. ``spans`` says who had them in hand before."""

    def __init__(self, spans: SpanStore, settings: TraceSettings) -> None:
        self._spans, self._settings = spans, settings
        self._open: WeakValueDictionary[str, BatchTrace] = WeakValueDictionary()

    async def of_batch(self, work: Sequence[Work], run: int, flow_run_id: str | None) -> BatchTrace:
        """The traces of run number ``run`` of all of ``work``, and one of the flow run, linked from them."""
        places = {each.id: place for each in work if (place := self._place(each, run))}
        if not places:
            return untraced()
        about: dict[str, str | int] = {"run": run, "evaluations": len(work)}
        if flow_run_id is not None:
            about["flow_run"] = flow_run_id
        flow = root("flow run", Root.ALWAYS, about)
        links = [link_to(flow.get_span_context(), "in flow run")] if flow.is_recording() else []
        runs = {
            f"{each}.{run}": _Run(
                begin("evaluate", place, {"evaluation": each, "run": run}, links=links),
                f"{place.trace_id:032x}",
            )
            for each, place in places.items()
        }
        trace = BatchTrace(flow, runs, await self._sent(places, run))
        self._open.update(dict.fromkeys(runs, trace))
        return trace

    def settled(self, comparison: Comparison) -> None:
        """Note that the first run of an evaluation is settled, if it is traced here."""
        run_id = f"{comparison.evaluation_id}.0"
        if trace := self._open.pop(run_id, None):
            trace.settled(run_id, comparison)

    def _place(self, work: Work, run: int) -> SpanContext | None:
        place = context_of(work.traceparent)
        if place is None or place.trace_flags.sampled:
            return place
        ratio = self._settings.sweep_ratio if work.route is None else self._settings.ratio
        is_confirming = 0 < run < NOISE_RUN
        return sampled_anew(place) if is_confirming and ratio else None

    async def _sent(self, places: Mapping[str, SpanContext], run: int) -> dict[Place, SpanContext]:
        old = [place for each, place in places.items() if not _is_fresh(each)]
        if not old:
            return {}
        try:
            found = await self._spans.sent([f"{each.trace_id:032x}" for each in old])
        except PlatformError:
            return {}  # then the trace has no link; nothing else rests on it
        return {
            (int(each.trace_id, 16), each.leg): SpanContext(
                int(each.trace_id, 16), int(each.span_id, 16), is_remote=True
            )
            for each in found
            if each.run == run
        }


def untraced() -> BatchTrace:
    """For a batch of which nothing is traced."""
    return BatchTrace(INVALID_SPAN, {}, {})


def _is_fresh(evaluation_id: str) -> bool:
    try:
        return datetime.now(UTC) - made_at(evaluation_id) < _FRESH
    except ValueError:
        return True
