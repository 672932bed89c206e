"""What is sent to a leg, and how."""

from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from opentelemetry.trace import Link, Span, SpanContext

from crucible.models import Evaluation, Leg
from crucible.telemetry.spans import TRACEPARENT, begin, context_of, ending, is_sampled, link_to


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One run to send: ``reply_to`` is the key of the stream on which its reply is awaited.

    ``traceparent`` is its place in its evaluation's trace, ``enqueued_ms`` when it was first to be sent, in
    ms since 1970: the same however often it is sent. ``repeats`` are the places of what it does once more.
    """

    run_id: str
    evaluation: Evaluation
    reply_to: str
    traceparent: str | None = None
    enqueued_ms: int | None = None
    repeats: tuple[SpanContext, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run as a worker receives it. ``payload`` is the legacy queue's own copy of it, byte for byte.

    ``trace`` and ``enqueued_ms`` are null where the sender said nothing that can be understood.
    """

    run_id: str
    language: str
    code: str
    stdin: str
    limits: Mapping[str, object]
    reply_to: str
    payload: bytes | None = None
    trace: SpanContext | None = None
    enqueued_ms: int | None = None

    def __post_init__(self) -> None:
        """Raises ``TypeError`` when a part is of another type, for anybody may write to a queue."""
        texts = (self.run_id, self.language, self.code, self.stdin, self.reply_to)
        if not (all(isinstance(each, str) for each in texts) and isinstance(self.limits, Mapping)):
            raise TypeError("limits must be an object, and all else text")


ENQUEUED_AT = "enqueued_at"


def trace_fields(dispatch: Dispatch) -> dict[str, object]:
    """What a message says beside the run itself; ``traced`` reads it."""
    fields = {TRACEPARENT: dispatch.traceparent, ENQUEUED_AT: dispatch.enqueued_ms}
    return {name: value for name, value in fields.items() if value is not None}


def traced(run: Run, fields: Mapping[str, object]) -> Run:
    """``run`` with its trace and time of sending, as far as ``fields`` can be understood."""
    enqueued_ms = fields.get(ENQUEUED_AT)
    return replace(
        run,
        trace=context_of(fields.get(TRACEPARENT)),
        enqueued_ms=enqueued_ms if type(enqueued_ms) is int and enqueued_ms >= 0 else None,
    )


class LegClient(Protocol):
    """The sending end of a leg."""

    @property
    def leg(self) -> Leg:
        """Which leg this is."""

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """Puts all of ``dispatches`` on the leg's queue in one round trip.

        At least once: when it raises, some may have been sent; sending the same run ids again is
        always safe. Raises ``ServiceUnavailable`` when the queue's Redis does not answer.
        """

    async def withdraw(self, run_ids: Collection[str]) -> int:
        """Takes what waits for a worker of these runs out of the leg's queue; returns how many it were.

        A run that a worker has taken is not touched. Raises ``ServiceUnavailable`` as ``send`` does.
        """

    async def aclose(self) -> None:
        """Closes the connections."""


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
