"""What is answered instead of an observation: RFC 9457 documents."""

from dataclasses import dataclass
from http import HTTPStatus

import orjson
from starlette.responses import Response

from crucible.models import Observation

_AGAIN_AFTER_S = 1


@dataclass(frozen=True)
class Problem:
    """One problem. ``retry_after_s`` is set where the same request may be sent again."""

    status: HTTPStatus
    detail: str
    retry_after_s: int | None = None

    @property
    def document(self) -> dict[str, object]:
        """The members of the problem document."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }

    def response(self) -> Response:
        """The problem as an answer of its own."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(orjson.dumps(self.document), self.status, headers, "application/problem+json")


class RefusedError(Exception):
    """A request that is not carried out; ``reason`` is the word under which it is counted."""

    def __init__(self, reason: str, problem: Problem) -> None:
        self.reason, self.problem = reason, problem
        super().__init__(problem.detail)


def sandbox_failed(seen: Observation) -> Problem:
    """The answer to a run that the platform did not bring to its end."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"the sandbox failed, the program is not to blame: {seen.detail}",
        _AGAIN_AFTER_S,
    )
