"""Puts the dashboard together, and under its address."""

from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from api.dashboard.assets import assets_router
from api.dashboard.evaluations import evaluations_pages
from api.dashboard.migration import migration_pages
from api.dashboard.pages import pages_router
from api.dashboard.parts import DashboardParts
from api.dashboard.rendering import Pages
from api.dashboard.session import SignedOut
from api.dashboard.signing_in import signing_in_router
from api.dashboard.stream import stream_router
from api.dashboard.sweeps import sweeps_pages
from api.problems import Problem
from crucible.errors import PlatformError


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
