"""The endpoints of an executor. Problems are RFC 9457 documents."""

import hmac
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crucible.settings import ExecutorSettings
from executors.executor import Executor
from executors.service.batch import Execution, Lines, in_one_piece, in_trace, run_once
from executors.service.metrics import Metrics
from executors.service.orders import Problem, RefusedError, read, wants_lines
from executors.service.queue import Answers, Drain, Queue
from executors.timings import TIMING_HEADER, timing_header

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(executor: Executor, settings: ExecutorSettings, drain: Drain) -> Starlette:
    """The endpoints of ``executor``, which the caller opens and closes; ``drain`` says when to end."""
    service = Service(executor, settings, drain)
    routes = [
        Route("/execute", service.guarded(service.execute), methods=["POST"]),
        Route("/executions/{run_id:path}", service.guarded(service.cancel), methods=["DELETE"]),
        Route("/languages", service.guarded(service.languages)),
        Route("/health", service.health),
        Route("/metrics", service.metrics),
    ]
    return Starlette(routes=routes)


class Service:
    """The endpoints of one executor."""

    def __init__(self, executor: Executor, settings: ExecutorSettings, drain: Drain) -> None:
        self._executor = executor
        self._drain = drain
        self._memory_limit_mb = settings.memory_limit_mb
        self._answers = Answers()
        self._queue = Queue(settings.slots, settings.queue_limit)
        self._metrics = Metrics(executor, self._queue)
        self._token = settings.token.get_secret_value().encode()

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for those who show the bearer token, compared in constant time; refusals answered."""

        async def check(request: Request) -> Response:
            began_s = time.monotonic()
            try:
                self._check_token(request)
                with in_trace(request):
                    return await endpoint(request)
            except RefusedError as refused:
                self._metrics.refused(refused.reason)
                response = refused.problem.response()
                response.headers[TIMING_HEADER] = timing_header(self._executor.name, began_s)
                return response

        return check

    def _check_token(self, request: Request) -> None:
        shown = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(shown, b"Bearer " + self._token):
            detail = "the bearer token is missing or wrong"
            raise RefusedError("token", Problem(HTTPStatus.UNAUTHORIZED, detail))

    async def execute(self, request: Request) -> Response:
        """Run one program, once or over many cases; the answer is its observation, or those of all cases."""
        began_s = time.monotonic()
        order = await read(request)
        execution = Execution(self._executor, self._queue, self._metrics, order)
        if order.cases is not None and wants_lines(request):
            self._admit(execution)
            return Lines(execution, self._queue, self._drain)
        key = (order.id, order.cases is not None)
        if not self._answers.knows(key):
            self._admit(execution)
        with self._drain.caller(request):
            answer = await self._answers.get(key, lambda: self._carried_out(execution))
        body = answer.body
        response = (
            body.response() if isinstance(body, Problem) else Response(body, media_type="application/json")
        )
        response.headers[TIMING_HEADER] = timing_header(self._executor.name, began_s, answer.timings)
        return response

    def _admit(self, execution: Execution) -> None:
        self._drain.refuse()
        self._queue.enter(execution.order.id, execution)

    async def _carried_out(self, execution: Execution) -> bytes | Problem:
        try:
            if execution.order.cases is None:
                return await run_once(execution)
            return await in_one_piece(execution, self._queue.slots)
        finally:
            self._queue.leave(execution.order.id, execution.work_s)

    async def cancel(self, request: Request) -> Response:
        """End an order under way."""
        run_id = request.path_params["run_id"]
        execution = self._queue.find(run_id)
        if execution is None:
            return Problem(HTTPStatus.NOT_FOUND, f"no run {run_id!r} is under way").response()
        await execution.cancel()
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def languages(self, _request: Request) -> Response:
        """The languages that work here, with their versions."""
        return JSONResponse(self._executor.versions)

    async def health(self, _request: Request) -> Response:
        """Whether programs can be run, how they are isolated and what they see, and how much is to do."""
        queue = self._queue
        return JSONResponse(
            {
                "status": "draining" if self._drain.begun else "ok",
                "draining": self._drain.begun,
                "name": self._executor.name,
                "version": version("crucible"),
                "isolation_level": self._executor.isolation_level,
                "memory_limit_mb": self._memory_limit_mb,
                "languages": self._executor.versions,
                "environment": dict(self._executor.environment),
                "queue": {
                    "slots": queue.slots,
                    "running": queue.running,
                    "waiting": queue.waiting,
                    "orders": queue.orders,
                    "limit": queue.limit,
                },
            }
        )

    async def metrics(self, _request: Request) -> Response:
        """The same and more, for Prometheus."""
        return Response(self._metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})
