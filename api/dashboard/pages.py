"""The pages about everything: the overview, the causes, the migration, the parts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.dashboard.board import SIGNS, Board, migration_view
from api.dashboard.forms import read_form, small_forms
from api.dashboard.rendering import Live, Pages
from api.dashboard.session import Sessions
from api.feed import Event, Feed, refuse_crowd
from api.problems import misfit
from crucible.errors import GateRefused, InputError, RolloutConflict, ServiceUnavailable
from crucible.fingerprints import causes_of_pages
from crucible.models.access import Scope
from crucible.rollout.assessment import Columns
from crucible.store import Store
from crucible.store.rollout import RolloutStore
from crucible.store.tables import COLUMNS
from tasks.dead_letters import DeadLetters, Letter

_LETTERS = 100
_PAGE = 50
_MOST_EXAMINED = 500

_OVERVIEW = Live(
    "all", *("stage", "newest", "ledger", "causes", "latency", "executors", "queues", "sweeps", "changes")
)
_PARTS = Live("all", "executors", "queues", "letters")


def pages_router(
    pages: Pages, sessions: Sessions, board: Board, store: Store, letters: tuple[DeadLetters, ...]
) -> APIRouter:
    """For those who may read."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(sessions.needs(Scope.READ))])

    @router.get("/")
    async def overview(request: Request) -> Response:
        values = {"board": await board.overview(), "columns": columns_of, "live": _OVERVIEW.at(request)}
        return pages.page(request, "overview", values)

    @router.get("/causes")
    async def causes(request: Request) -> Response:
        epoch = (await store.rollout.state()).epoch
        page = partial(store.rollout.mismatches, epoch, limit=_PAGE)
        found = await causes_of_pages(page, _MOST_EXAMINED)
        return pages.page(request, "causes", {"epoch": epoch, "causes": found})

    @router.get("/parts")
    async def parts(request: Request) -> Response:
        found = await asyncio.to_thread(_newest, letters)
        values = {"standing": await board.standing(), "letters": found, "live": _PARTS.at(request)}
        return pages.page(request, "parts", values)

    return router


def columns_of(ledger: Columns) -> list[tuple[str, int]]:
    """The columns of a ledger of traffic, in words; they add up to ``submitted``."""
    return [(name.replace("_", " "), getattr(ledger, name)) for name in COLUMNS]


def _newest(letters: tuple[DeadLetters, ...]) -> list[Letter]:
    found: list[Letter] = []
    for of_leg in letters:
        with suppress(ServiceUnavailable):  # the page says whose Redis does not answer
            found += of_leg.newest(_LETTERS)
    return sorted(found, key=lambda letter: letter.at, reverse=True)[:_LETTERS]


_CHANGES = 100
_MOST_REASON = 2000
_ROLLOUT = Live("rollout", "actions", "stage", "gates", "evidence", "trust", "changes")


def migration_pages(pages: Pages, sessions: Sessions, board: Board, books: RolloutStore) -> APIRouter:
    """For those who may read; changing anything for those who may operate."""
    router = APIRouter(prefix="/rollout", include_in_schema=False)
    may_read, may_operate = Depends(sessions.needs(Scope.READ)), Depends(sessions.needs(Scope.OPERATE))
    forms = small_forms()

    @router.get("", dependencies=[may_read])
    async def show(request: Request) -> Response:
        return pages.page(request, "rollout", await _values(request, board, books, None))

    @router.post("", dependencies=[may_operate])
    async def change(request: Request) -> Response:
        try:
            await _change(books, request.state.access.name, await read_form(request, forms))
        except (GateRefused, RolloutConflict) as error:
            values = await _values(request, board, books, str(error))
            return pages.page(request, "rollout", values, HTTPStatus.CONFLICT)
        except InputError as error:
            values = await _values(request, board, books, str(error))
            return pages.page(request, "rollout", values, HTTPStatus.UNPROCESSABLE_ENTITY)
        return RedirectResponse("/dashboard/rollout", HTTPStatus.SEE_OTHER)

    return router


async def _change(books: RolloutStore, actor: str, form: Mapping[str, str]) -> None:
    reason, version = form.get("reason", "")[:_MOST_REASON], form.get("version", "")
    if not version.isdecimal():
        raise misfit("version", "is missing; open the page again")
    match form.get("action"):
        case "advance":
            await books.advance(actor, reason, int(version))
        case "rollback":
            # Whatever has happened since the page was opened: the way back is never refused.
            await books.rollback(actor, reason)
        case "hold" | "release" as wish:
            await books.set(actor, reason, int(version), held=wish == "hold")
        case wish:
            raise misfit("action", f"{wish!r} is none; advance, hold, release and rollback are")


async def _values(request: Request, board: Board, books: RolloutStore, fault: str | None) -> dict[str, Any]:
    status = await board.status()
    return {
        "status": status,
        "migration": migration_view(status),
        "signs": SIGNS,
        "changes": tuple(reversed(await books.history(_CHANGES))),
        "fault": fault,
        "live": _ROLLOUT.at(request),
    }


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
