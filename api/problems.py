"""Errors as RFC 9457 problem documents, whoever raises them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Literal

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crucible.corpus import shortened, shown
from crucible.errors import InputError, PlatformError

_RETRY_AFTER_S = 5


class ProblemDocument(BaseModel):
    """What an error looks like (RFC 9457). ``detail`` says what is wrong, and what to do about it.

    ``key`` and ``problem`` name the part of a request that does not fit, ``number`` its place in a list.
    """

    model_config = ConfigDict(extra="allow")

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str


class Problem(Exception):
    """Ends a request with a problem document. ``more`` are members beside the standard ones."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.more, self.headers = more or {}, headers or {}

    def as_response(self) -> Response:
        """The document and its status; a fault that may pass says when to ask again."""
        document = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            **self.more,
        }
        headers = dict(self.headers)
        if self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers.setdefault("Retry-After", str(_RETRY_AFTER_S))
        return Response(orjson.dumps(document), self.status, headers, "application/problem+json")


def misfit(key: str, problem: str, number: int | None = None) -> Problem:
    """What is sent back for a request that does not fit: which key, and what is wrong with it.

    ``number`` is the place in a list, from 1; ``key`` is empty where it is about the whole.
    """
    where = [] if number is None else [f"evaluation {number}"]
    where += [f"key {key!r}"] if key else []
    detail = f"{', '.join(where)}: {problem}" if where else problem
    more: dict[str, object] = {"key": key, "problem": problem}
    if number is not None:
        more["number"] = number
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, more)


def handle_problems(app: FastAPI) -> None:
    """Let every error that ``app`` answers be a problem document, those of its framework too."""
    app.add_exception_handler(Problem, _of_ours)
    app.add_exception_handler(InputError, _of_input)
    app.add_exception_handler(PlatformError, _of_platform)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(Exception, _of_defect)


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 (narrows for the type checker)
    return error.as_response()


async def _of_input(_request: Request, error: Exception) -> Response:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)).as_response()


async def _of_platform(request: Request, error: Exception) -> Response:
    structlog.get_logger().warning("platform fault", path=request.url.path, reason=str(error))
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)).as_response()


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (narrows for the type checker)
    detail = f"{request.method} {shortened(request.url.path)}: {error.detail}"
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return Problem(HTTPStatus(error.status_code), detail, headers=headers).as_response()


def _allowed(request: Request) -> Sequence[str]:
    """The methods of all endpoints at this path: the framework names those of the first one it finds."""
    return sorted(
        method
        for route in iter_route_contexts(request.app.routes)
        if _is_at(route, request)
        for method in route.methods or ()
    )


def _is_at(route: RouteContext, request: Request) -> bool:
    return route.path_regex is not None and route.path_regex.match(request.url.path) is not None


async def _of_parameters(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (narrows for the type checker)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][1:])
    return misfit(shortened(key), f"{first['msg']}; it is {shown(first['input'])}").as_response()


async def _of_defect(_request: Request, _error: Exception) -> Response:
    # The server logs the traceback; the caller gets none of it.
    detail = "a defect in Crucible; please report it with the log of the api"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail).as_response()
