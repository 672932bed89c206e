"""Sessions of people at the dashboard: a signed cookie that names the key they signed in with."""

import hmac
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import SecretStr

from api.dashboard.forms import read_form, small_forms
from api.dashboard.rendering import Pages
from api.guard import Access, Guard, require
from api.problems import Problem
from crucible.models.access import Scope

COOKIE = "crucible_session"
LASTS_S = 12 * 3600

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SignedOut(Exception):
    """Nobody is signed in, or not any more."""


class Sessions:
    """Makes and reads cookies. All API processes with the same stack key read each other's.

    A cookie holds no key, and is good for nothing but these pages, for twelve hours at most.
    """

    def __init__(self, stack_key: SecretStr, guard: Guard, clock: Callable[[], float] = time.time) -> None:
        self._secret = hmac.digest(stack_key.get_secret_value().encode(), b"crucible dashboard", sha256)
        self._guard, self._clock = guard, clock

    def begin(self, request: Request, response: Response, access: Access) -> None:
        """Sign the holder of ``access`` in."""
        content = f"{access.key_id}.{int(self._clock()) + LASTS_S}"
        response.set_cookie(
            COOKIE,
            f"{content}.{self._signature(content)}",
            max_age=LASTS_S,
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
        )

    def end(self, response: Response) -> None:
        """Sign whoever it is out."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    async def access(self, request: Request) -> Access:
        """Who is signed in, by the key as it stands now: what is revoked opens nothing here either.

        Raises ``SignedOut``, a 429 ``Problem`` for too many requests, and a 403 one where a request that
        changes something comes from another site.
        """
        key_id = self._key_id(request.cookies.get(COOKIE, ""))
        if key_id is None:
            raise SignedOut
        require_same_origin(request)
        try:
            return await self._guard.resume(key_id)
        except Problem as problem:
            if problem.status is HTTPStatus.UNAUTHORIZED:
                raise SignedOut from problem
            raise

    def needs(self, scope: Scope) -> Callable[[Request], Awaitable[None]]:
        """A dependency of pages that takes requests of those who are signed in with ``scope``.

        It raises as ``access`` does, and a 403 ``Problem``. Who it is stands in ``request.state.access``.
        """

        async def needed(request: Request) -> None:
            request.state.access = await self.access(request)
            require(request.state.access, scope)

        return needed

    def _key_id(self, cookie: str) -> str | None:
        content, _, signature = cookie.rpartition(".")
        shown = signature.encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(shown, self._signature(content).encode()):
            return None
        key_id, _, until = content.rpartition(".")
        return key_id if self._clock() < int(until) else None

    def _signature(self, content: str) -> str:
        return hmac.new(self._secret, content.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def require_same_origin(request: Request) -> None:
    """Refuse a request that changes something unless a page of ours made it.

    The cookie is not sent along from other sites; this holds where a browser does so nevertheless.
    """
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site == "same-origin" or (site is None and origin and origin == _host(request)):
        return
    raise Problem(HTTPStatus.FORBIDDEN, "this was not sent by a page of the dashboard; open it and try again")


def _host(request: Request) -> str:
    return request.headers.get("x-forwarded-host") or request.headers.get("host", "")


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
