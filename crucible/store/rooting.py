"""Where traces begin: an evaluation that enters the ledger is the root of a trace of its own."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from opentelemetry.trace import Span

from crucible.store.entries import Submission
from crucible.telemetry.context import text_of
from crucible.telemetry.roots import Root
from crucible.telemetry.spans import ending, here, link_to, root


@asynccontextmanager
async def rooted(submissions: Sequence[Submission]) -> AsyncIterator[Mapping[str, str]]:
    """The traceparents of what is being submitted, by id; those of its spans ``submit`` that last as long.

    Where the process makes no traces there are none. A trace in which somebody asked is linked to.
    """
    asked_in = here()
    links = [link_to(asked_in, "asked for here")] if asked_in else []
    begun: dict[str, Span] = {}
    for each in submissions:
        if each.classification is None:
            attributes = {"evaluation": each.id, "language": each.evaluation.language}
            if each.sweep_id is not None:
                attributes["sweep"] = each.sweep_id
            kind = Root.TRAFFIC if each.sweep_id is None else Root.SWEEP
            begun[each.id] = root("submit", kind, attributes, links)
    contexts = {each: span.get_span_context() for each, span in begun.items()}
    with ending(begun.values()):
        yield {each: text_of(context) for each, context in contexts.items() if context.is_valid}
