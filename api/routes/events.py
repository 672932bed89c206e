"""``GET /events``: what happens, as server-sent events that can be resumed."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.feed import EVENT_ID, Feed, refuse_crowd
from api.guard import Guard
from api.problems import misfit
from crucible.models.access import Scope
from tasks.events import EventKind

_PING_S = 15

Kinds = Annotated[list[EventKind] | None, Query(description="Only these; all without.")]
LastEventId = Annotated[str | None, Header(description="Go on after this event.")]
After = Annotated[str | None, Query(description="As Last-Event-ID, for who cannot send that.")]


class EventStream(EventSourceResponse):
    """Server-sent events, as the description of the API names them."""

    media_type = "text/event-stream"


def events_router(feed: Feed, guard: Guard) -> APIRouter:
    """The stream, for those who may read."""
    router = APIRouter(dependencies=[Depends(guard.needs(Scope.READ))])

    @router.get("/events", response_class=EventStream, responses={200: {"description": _SAID}})
    async def events(kind: Kinds = None, last_event_id: LastEventId = None, after: After = None) -> Response:
        """What happens from now on, or since an event seen before.

        Each event has an id, a kind as its name, and a JSON object. The event `reset` says that some between
        the last one seen and now are not kept any more: read anew what you show. A comment comes every 15 s.
        """
        place = last_event_id or after
        if place is not None and not EVENT_ID.fullmatch(place):
            raise misfit("last-event-id", f"{place[:40]!r} is the id of no event")
        refuse_crowd(feed)
        return EventStream(_told(feed, place, frozenset(kind or ())), ping=_PING_S)

    return router


_SAID = "The events, without end."


async def _told(feed: Feed, after: str | None, kinds: frozenset[str]) -> AsyncIterator[ServerSentEvent]:
    async for event in feed.follow(after):
        if not kinds or event.kind in kinds or event.kind == "reset":
            yield ServerSentEvent(id=event.id, event=event.kind, data=event.data)
