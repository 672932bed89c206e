"""``/dashboard/events``: tells a page that what it shows has changed, about once in two seconds at most."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.dashboard.session import Sessions
from api.feed import Event, Feed, refuse_crowd
from crucible.models.access import Scope

_QUIET_S = 1.0
_SEEN_AFTER_S = 2.5
"""After this what pages share is read anew, and the spans of what has just happened are in the store."""
_PING_S = 15

_OF_SWEEPS = ("evaluation.", "sweep.")

Topic = Annotated[str, Query(pattern="^(all|sweeps|rollout|(evaluation|sweep):[-0-9A-Za-z]{1,40})$")]

After = Annotated[str | None, Query(pattern="^[0-9]{1,16}-[0-9]{1,16}$")]


def stream_router(sessions: Sessions, feed: Feed) -> APIRouter:
    """One endpoint for all pages: its topic says what a page is about."""
    router = APIRouter(include_in_schema=False)

    @router.get("/events", dependencies=[Depends(sessions.needs(Scope.READ))])
    async def events(topic: Topic = "all", after: After = None) -> EventSourceResponse:
        refuse_crowd(feed)
        return EventSourceResponse(
            _changes(feed, topic, after), ping=_PING_S, headers={"X-Accel-Buffering": "no"}
        )

    return router


async def _changes(feed: Feed, topic: str, after: str | None) -> AsyncIterator[ServerSentEvent]:
    async for event in feed.follow(after):
        if concerns(topic, event):
            yield ServerSentEvent(event="changed", data="")
            # Once more when all of it is sure to be seen. What comes meanwhile is told along with that.
            await asyncio.sleep(_SEEN_AFTER_S)
            yield ServerSentEvent(event="changed", data="")
            await asyncio.sleep(_QUIET_S)


def concerns(topic: str, event: Event) -> bool:
    """Whether a page about ``topic`` may show something else after ``event``."""
    kind, _, of = topic.partition(":")
    if event.kind == "reset" or topic == "all":
        return True
    if kind == "evaluation":
        return event.kind.startswith("evaluation.") and f'"{of}"' in event.data
    if kind == "rollout":
        return event.kind.startswith(("rollout.", "evaluation."))
    return event.kind.startswith(_OF_SWEEPS)
