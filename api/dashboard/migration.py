"""The page about the migration, and its buttons."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from api.dashboard.board import SIGNS, Board, migration_view
from api.dashboard.forms import read_form, small_forms
from api.dashboard.rendering import Live, Pages
from api.dashboard.session import Sessions
from api.problems import misfit
from crucible.errors import GateRefused, InputError, RolloutConflict
from crucible.models.access import Scope
from crucible.store.rollout import RolloutStore

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
