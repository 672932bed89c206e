"""Tells of every request: how long it took by its route, and the trace of whoever asks, to be linked to."""

import time
from functools import cache

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crucible.telemetry.metrics import REQUEST_S
from crucible.telemetry.spans import TRACEPARENT, context_of, inside

_HEADER = TRACEPARENT.encode()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Told:
    """``app``, of which every HTTP request is timed until its answer has begun.

    Answers that go on, events say, last as long as their readers like.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, outside = time.perf_counter(), scope.get("root_path", "")

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_s = time.perf_counter() - began
                _requests().labels(_method(scope), _route(scope, outside), str(message["status"])).observe(
                    took_s
                )
            await send(message)

        place = context_of(_traceparent(scope))
        with inside(place):
            await self._app(scope, receive, timed)


def _traceparent(scope: Scope) -> str | None:
    found = next((value for name, value in scope["headers"] if name == _HEADER), None)
    return None if found is None else found.decode("latin-1")


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in _METHODS else "other"


def _route(scope: Scope, outside: str) -> str:
    """The template that the path fits, below ``outside``, which no caller can make up."""
    found = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None)
    # Where one application is inside another, the path of its route begins at its own address.
    return scope.get("root_path", "").removeprefix(outside) + found if found else "none"


@cache
def _requests() -> Histogram:
    return Histogram(
        "crucible_http_request_duration_seconds",
        "From a request to the beginning of its answer.",
        ("method", "route", "status"),
        buckets=REQUEST_S,
    )
