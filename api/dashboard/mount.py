"""Puts the dashboard together, and under its address."""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from api.dashboard.board import Board
from api.dashboard.evaluations import evaluations_pages, sweeps_pages
from api.dashboard.pages import migration_pages, pages_router, stream_router
from api.dashboard.rendering import Elsewhere, Pages
from api.dashboard.session import Sessions, SignedOut, signing_in_router
from api.desk import Desk
from api.feed import Feed
from api.guard import Guard
from api.problems import Problem
from api.routes.sweeps import CancelSweep
from crucible.errors import PlatformError
from crucible.store import Store
from tasks.dead_letters import DeadLetters


@dataclass(frozen=True, slots=True)
class DashboardParts:
    """The same parts as those of the API beside it, and where the pages of others are."""

    guard: Guard
    sessions: Sessions
    store: Store
    board: Board
    desk: Desk
    feed: Feed
    letters: tuple[DeadLetters, ...]
    cancel_sweep: CancelSweep
    elsewhere: Elsewhere


_FOR_GOOD = "public, max-age=31536000, immutable"


def assets_router(pages: Pages) -> APIRouter:
    """``/static/{name}``; addresses in pages carry a digest, so that a browser never asks twice."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{name}")
    async def file(name: str) -> Response:
        if name not in pages.files:
            raise Problem(HTTPStatus.NOT_FOUND, f"no page loads a file {name!r}")
        content, kind = pages.files[name]
        headers = {"Cache-Control": _FOR_GOOD, "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=kind, headers=headers)

    return router


def create_dashboard(parts: DashboardParts) -> ASGIApp:
    """The dashboard as an application of its own: its errors are pages, not documents."""

    async def note_place(request: Request) -> None:
        request.state.place = parts.feed.place

    app = FastAPI(openapi_url=None, redirect_slashes=False, dependencies=[Depends(note_place)])
    pages, sessions = Pages(parts.elsewhere), parts.sessions
    app.include_router(assets_router(pages))
    app.include_router(signing_in_router(pages, sessions, parts.guard))
    app.include_router(stream_router(sessions, parts.feed))
    app.include_router(pages_router(pages, sessions, parts.board, parts.store, parts.letters))
    app.include_router(evaluations_pages(pages, sessions, parts.desk, parts.store))
    app.include_router(sweeps_pages(pages, sessions, parts.store, parts.cancel_sweep))
    app.include_router(migration_pages(pages, sessions, parts.board, parts.store.rollout))
    _answer_errors(app, pages)
    return app


def _answer_errors(app: FastAPI, pages: Pages) -> None:
    def refused(request: Request, status: HTTPStatus, detail: str) -> Response:
        values = {"title": status.phrase, "detail": detail}
        return pages.page(request, "refused", values, status)

    @app.exception_handler(SignedOut)
    async def signed_out(request: Request, _error: Exception) -> Response:
        where = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        login = f"/dashboard/login?{urlencode({'next': where})}"
        if "hx-request" in request.headers:  # a part of a page: the page as a whole has to go there
            return Response(headers={"HX-Redirect": "/dashboard/login"})
        return RedirectResponse(login, HTTPStatus.SEE_OTHER)

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return refused(request, error.status, error.detail)

    @app.exception_handler(PlatformError)
    async def platform(request: Request, error: PlatformError) -> Response:
        return refused(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        return refused(request, HTTPStatus(error.status_code), f"{request.url.path}: {error.detail}")

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refused(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(Exception)
    async def defect(request: Request, _error: Exception) -> Response:
        # The server logs the traceback; who looks at the page gets none of it.
        return refused(
            request, HTTPStatus.INTERNAL_SERVER_ERROR, "A defect in Crucible; the api's log has more."
        )
