"""A batch as a stream of JSON lines: each observation as soon as it is there."""

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crucible.models import Observation
from executors.service.batch import Batch, Ending
from executors.service.drain import Drain
from executors.service.execution import Execution
from executors.service.problems import Problem
from executors.service.queue import Queue


class Lines(Response):
    """One line for each case: its observation with ``case``, the index from 0, and ``id``, the caller's.

    The last line is ``{"summary": {...}}``, or a problem document where the platform failed. A caller who
    hangs up ends all that is left.
    """

    media_type = "application/x-ndjson"

    def __init__(self, execution: Execution, queue: Queue, drain: Drain) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers()
        self._execution, self._queue, self._drain = execution, queue, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the batch and send it; the execution has entered the queue and leaves it here."""
        hung_up = asyncio.ensure_future(self._hung_up(receive))
        try:
            with self._drain.caller(Request(scope, receive)):
                await self._send(send)
        finally:
            hung_up.cancel()
            self._queue.leave(self._execution.order.id, self._execution.work_s)

    async def _send(self, send: Send) -> None:
        cases = self._execution.order.cases or ()
        given = 0

        async def give(index: int, seen: Observation) -> None:
            nonlocal given
            given += 1
            line = {"case": index, "id": cases[index].id, **seen.model_dump(mode="json")}
            await send(_part(line, more=True))

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        ending = await Batch(self._execution, self._queue.slots).run(give)
        await send(_part(_last(ending, given), more=False))

    async def _hung_up(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await self._execution.cancel()


def _last(ending: Ending | Problem, given: int) -> dict[str, object]:
    if isinstance(ending, Problem):
        return ending.document
    compiled = None if ending.compiled is None else ending.compiled.model_dump(mode="json")
    return {"summary": {"observations": given, "compile": compiled, "stopped": ending.stopped}}


def _part(line: dict[str, object], *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": orjson.dumps(line) + b"\n", "more_body": more}
