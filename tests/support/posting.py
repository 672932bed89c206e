"""Somebody who posts evaluations all the time, and posts again, under its key, what is not accepted."""

import threading
import time
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

_PAUSE_S = 0.5
_WITHIN_S = 240


class Posting:
    """Posts until the end of the context. ``accepted`` has the ids of what the API has taken."""

    def __init__(self, client: httpx.Client) -> None:
        self.accepted: list[str] = []
        self._client = client
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._post, name="posting")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Returns once so many more are accepted."""
        wanted, deadline = len(self.accepted) + more, time.monotonic() + _WITHIN_S
        while len(self.accepted) < wanted:
            assert time.monotonic() < deadline, "nothing is accepted any more"
            time.sleep(0.05)

    def state(self, evaluation_id: str) -> dict[str, Any]:
        """What the API says of one; asks again where it cannot say now."""
        deadline = time.monotonic() + _WITHIN_S
        while True:
            try:
                answer = self._client.get(f"/api/evaluations/{evaluation_id}")
                if answer.status_code == HTTPStatus.OK:
                    found: dict[str, Any] = answer.json()
                    return found
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{evaluation_id} is not told"
            time.sleep(0.5)

    def _post(self) -> None:
        number = 0
        while not self._ending.wait(_PAUSE_S):
            number += 1
            self._insist({"language": "python", "code": f"print({number})"}, str(uuid4()))

    def _insist(self, body: dict[str, str], key: str) -> None:
        while True:
            try:
                answer = self._client.post("/api/evaluations", json=body, headers={"Idempotency-Key": key})
                if answer.status_code == HTTPStatus.ACCEPTED:
                    self.accepted.append(answer.json()["id"])
                    return
                assert answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in {
                    HTTPStatus.TOO_MANY_REQUESTS,
                    HTTPStatus.CONFLICT,
                }, answer.text
            except httpx.TransportError:
                pass
            if self._ending.wait(_PAUSE_S):
                return
