"""Signing in with an API key, signing out, and what the gateway asks before it lets somebody through."""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.dashboard.forms import read_form, small_forms
from api.dashboard.rendering import Pages
from api.dashboard.session import Sessions, SignedOut, require_same_origin
from api.guard import Guard, require
from api.problems import Problem
from crucible.models.access import Scope

HOME = "/dashboard/"

_READING = ("filter", "count", "history", "paginate", "lateness", "search")
"""How the addresses end to which Prefect's pages post only to read."""


def signing_in_router(pages: Pages, sessions: Sessions, guard: Guard) -> APIRouter:
    """The only pages for those who are nobody yet."""
    router = APIRouter(include_in_schema=False)
    forms = small_forms()

    @router.get("/login")
    async def ask(request: Request, next: str = HOME) -> Response:  # noqa: A002 (what the query calls it)
        return pages.page(request, "login", {"next": local(next), "fault": None})

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        require_same_origin(request)
        form = await read_form(request, forms)
        where = local(form.get("next", HOME))
        try:
            access = await guard.admit(form.get("key", "").strip(), _address(request))
        except Problem as problem:
            is_wrong = problem.status is HTTPStatus.UNAUTHORIZED
            fault = "That is no key that is known here, or it has ended." if is_wrong else problem.detail
            return pages.page(request, "login", {"next": where, "fault": fault}, problem.status)
        response = RedirectResponse(where, HTTPStatus.SEE_OTHER)
        sessions.begin(request, response, access)
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        require_same_origin(request)
        response = RedirectResponse("/dashboard/login", HTTPStatus.SEE_OTHER)
        sessions.end(response)
        return response

    @router.get("/allowed")
    async def allowed(request: Request) -> Response:
        """204, 401 or 403, for the page that the gateway names in its headers."""
        try:
            is_shown = request.headers.get("authorization", "").lower().startswith("bearer ")
            access = await (guard.bearer(request) if is_shown else sessions.access(request))
        except SignedOut:
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        method = request.headers.get("x-original-method", "GET")
        path = urlsplit(request.headers.get("x-original-uri", "/")).path
        require(access, Scope.READ if _only_reads(method, path) else Scope.OPERATE)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def local(address: str) -> str:
    """``address`` if it leads to this origin, else the first page: from here nobody is led elsewhere."""
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_ours and address.isprintable() else HOME


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _only_reads(method: str, path: str) -> bool:
    if path.endswith("/events/in"):
        return False  # a websocket through which events are written begins as a GET
    return method in ("GET", "HEAD", "OPTIONS") or (
        method == "POST" and path.startswith("/prefect/api/") and path.rstrip("/").endswith(_READING)
    )
