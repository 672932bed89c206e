"""Bodies of requests: each bounded, and all together too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.problems import Problem
from crucible.models.evaluation import MAX_PROGRAM_BYTES

MAX_BODY_BYTES = 4 * MAX_PROGRAM_BYTES
"""The largest body that is read: a program and its input of full size, and as much again for escapes."""

MOST_HELD_BYTES = 8 * MAX_BODY_BYTES
"""Bodies that are held at once, until their requests are answered."""


class Intake:
    """Reads bodies, as long as there is memory for them."""

    def __init__(self, most_bytes: int = MOST_HELD_BYTES, body_bytes: int = MAX_BODY_BYTES) -> None:
        self._most, self._held, self._body_bytes = most_bytes, 0, body_bytes

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts as held until the end. What is beyond a bound is never held.

        Raises a 413 ``Problem`` past ``body_bytes`` and a 429 one while too much is held. A caller who
        hangs up in the middle gets a 400 ``Problem``, for the log's sake.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._body_bytes:
            raise self._too_large()
        parts, size = [], 0
        try:
            async for part in request.stream():
                if size + len(part) > self._body_bytes:
                    raise self._too_large()
                self._hold(len(part))
                size += len(part)
                parts.append(part)
            yield b"".join(parts)
        except ClientDisconnect:
            raise Problem(HTTPStatus.BAD_REQUEST, "the connection was closed before the body ended") from None
        finally:
            self._held -= size

    def _hold(self, size: int) -> None:
        if self._held + size > self._most:
            detail = f"requests of {self._held} bytes are being answered; the limit is {self._most}"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
        self._held += size

    def _too_large(self) -> Problem:
        detail = f"the body is too large; the limit is {self._body_bytes} bytes"
        return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
