"""Sessions of people at the dashboard: a signed cookie that names the key they signed in with."""

import hmac
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import Request, Response
from pydantic import SecretStr

from api.access import Access
from api.guard import Guard, require
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
