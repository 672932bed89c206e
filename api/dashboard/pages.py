"""The pages about everything: the overview, the causes, the parts."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter, Depends, Request, Response

from api.dashboard.board import Board
from api.dashboard.rendering import Live, Pages
from api.dashboard.session import Sessions
from crucible.errors import ServiceUnavailable
from crucible.fingerprints.causes import CauseTally
from crucible.models import Cause
from crucible.models.access import Scope
from crucible.rollout.assessment import Columns
from crucible.store import Store
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
        return pages.page(request, "causes", {"epoch": epoch, "causes": await _causes(store, epoch)})

    @router.get("/parts")
    async def parts(request: Request) -> Response:
        found = await asyncio.to_thread(_newest, letters)
        values = {"standing": await board.standing(), "letters": found, "live": _PARTS.at(request)}
        return pages.page(request, "parts", values)

    return router


def columns_of(ledger: Columns) -> list[tuple[str, int]]:
    """The columns of a ledger of traffic, in words; they add up to ``submitted``."""
    return [(name.replace("_", " "), getattr(ledger, name)) for name in COLUMNS]


async def _causes(store: Store, epoch: int) -> tuple[Cause, ...]:
    """The causes of an epoch's mismatches, of the first five hundred."""
    tally, after_id, examined = CauseTally(), "", 0
    while examined < _MOST_EXAMINED and (found := await store.rollout.mismatches(epoch, after_id, _PAGE)):
        for comparison in found:
            tally.add(comparison)
        after_id, examined = found[-1].evaluation_id, examined + len(found)
    return tally.causes()


def _newest(letters: tuple[DeadLetters, ...]) -> list[Letter]:
    found: list[Letter] = []
    for of_leg in letters:
        with suppress(ServiceUnavailable):  # the page says whose Redis does not answer
            found += of_leg.newest(_LETTERS)
    return sorted(found, key=lambda letter: letter.at, reverse=True)[:_LETTERS]
