"""The endpoints of an executor. Problems are RFC 9457 documents."""

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crucible.models import Evaluation, Outcome
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from crucible.settings import ExecutorSettings
from executors.executor import Executor
from executors.service.answers import Answers

MAX_BODY_BYTES = 4 * MAX_PROGRAM_BYTES
_RETRY_AFTER_S = 1

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(executor: Executor, settings: ExecutorSettings) -> Starlette:
    """The endpoints of ``executor``, which the caller opens and closes."""
    service = Service(executor, settings)
    routes = [
        Route("/execute", service.guarded(service.execute), methods=["POST"]),
        Route("/executions/{run_id:path}", service.guarded(service.cancel), methods=["DELETE"]),
        Route("/languages", service.guarded(service.languages)),
        Route("/health", service.health),
    ]
    return Starlette(routes=routes)


class Service:
    """The endpoints of one executor."""

    def __init__(self, executor: Executor, settings: ExecutorSettings) -> None:
        self._executor = executor
        self._answers = Answers()
        self._token = settings.token.get_secret_value().encode()
        self._most = settings.slots + settings.queue_limit

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for those who show the bearer token, compared in constant time."""

        async def check(request: Request) -> Response:
            shown = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(shown, b"Bearer " + self._token):
                return _problem(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or wrong")
            return await endpoint(request)

        return check

    async def execute(self, request: Request) -> Response:
        """Run one program; the answer is its observation."""
        body = await _body(request)
        if body is None:
            return _problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes"
            )
        try:
            order = Evaluation.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "body"
            return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")
        if not self._answers.knows(order.id) and self._answers.running >= self._most:
            return _problem(HTTPStatus.TOO_MANY_REQUESTS, f"{self._most} programs run or wait here already")
        answer = await self._answers.get(order.id, lambda: self._run(order))
        if answer is None:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "the sandbox failed; the program is not to blame")
        return Response(answer, media_type="application/json")

    async def _run(self, order: Evaluation) -> bytes | None:
        seen = await self._executor.execute(order.id, order.language, order.code, order.stdin, order.limits)
        return None if seen.outcome is Outcome.SANDBOX_ERROR else seen.model_dump_json().encode()

    async def cancel(self, request: Request) -> Response:
        """End a run under way."""
        found = await self._executor.cancel(request.path_params["run_id"])
        if not found:
            return _problem(HTTPStatus.NOT_FOUND, f"no run {request.path_params['run_id']!r} is under way")
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def languages(self, _request: Request) -> Response:
        """The languages that work here, with their versions."""
        return JSONResponse(self._executor.versions)

    async def health(self, _request: Request) -> Response:
        """Whether programs can be run, and how they are isolated."""
        return JSONResponse(
            {
                "status": "ok",
                "name": self._executor.name,
                "isolation_level": self._executor.isolation_level,
                "languages": self._executor.versions,
            }
        )


async def _body(request: Request) -> bytes | None:
    """The body, or null past the limit; what is beyond it is never held."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _problem(status: HTTPStatus, detail: str) -> Response:
    document = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    headers = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(document), status, headers, "application/problem+json")
