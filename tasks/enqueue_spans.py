"""The spans ``enqueue``: one for each time that a run is sent."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager

from opentelemetry.trace import Link, Span, SpanContext

from crucible.models import Leg
from crucible.telemetry.context import context_of, is_sampled
from crucible.telemetry.spans import begin, ending, link_to
from tasks.dispatch import Dispatch


@contextmanager
def enqueuing(
    leg: Leg, dispatches: Sequence[Dispatch], last: MutableMapping[str, SpanContext]
) -> Iterator[None]:
    """Have one span for each traced run of ``dispatches``, with a link to the sending that it repeats.

    ``last`` has the newest sending of each run that is waited for.
    """
    with ending([_begun(leg, each, last) for each in dispatches if is_sampled(each.traceparent)]):
        yield


def _begun(leg: Leg, dispatch: Dispatch, last: MutableMapping[str, SpanContext]) -> Span:
    links: list[Link] = [link_to(each, "taken over") for each in dispatch.repeats]
    if before := last.get(dispatch.run_id):
        links = [link_to(before, "sent again")]
    run = dispatch.run_id.rpartition(".")[2]
    attributes = {"leg": leg, "run": int(run) if run.isdecimal() else 0}
    span = begin("enqueue", context_of(dispatch.traceparent), attributes, links=links)
    last[dispatch.run_id] = span.get_span_context()
    return span
