"""The client of the executor service: one run in, the bytes of one observation out."""

import itertools
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NoReturn

import orjson
import urllib3
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from crucible.errors import CrucibleError, ExecutorUnavailable, InputError, SettingsError

_CALLERS_FAULT = frozenset({400, 404, 405, 413, 415, 422})
_CONNECT_WITHIN_S = 3.0
_QUESTION_WITHIN_S = 10.0


class _PassingFaultError(Exception):
    """A fault of the platform that may be over by the next attempt; its text says what it was."""


class ExecutorClient:
    """Runs programs on the executors at ``urls``, the first one first. Safe to use from several threads.

    Faults of the platform are retried over ``retry_s`` seconds, each time at the next URL. That is
    safe because an executor that gets an id again joins the run under way or repeats its answer.
    ``connections`` is how many requests to one executor may be under way at once.
    """

    def __init__(self, urls: Sequence[str], token: str, retry_s: float, connections: int) -> None:
        if not urls:
            raise SettingsError(
                "no executor is named; set CRUCIBLE_LEGACY_EXECUTOR_URLS or CRUCIBLE_CELERY_EXECUTOR_URL"
            )
        self._retry_s = retry_s
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._pools = tuple(_pool(url, connections) for url in urls)

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """The JSON of the observation of one run, byte for byte as the executor wrote it.

        Raises ``InputError`` when the executor refuses the request (unknown language, too large) and
        ``ExecutorUnavailable`` when none of the executors gave an answer in time.
        """
        body = orjson.dumps(
            {"id": run_id, "language": language, "code": code, "stdin": stdin, "limits": limits}
        )
        return self._ask("POST", "/execute", _seconds_for(limits), body)

    def languages(self) -> dict[str, str]:
        """The languages the executor runs, with their versions. Raises as ``execute`` does."""
        found: dict[str, str] = orjson.loads(self._ask("GET", "/languages", _QUESTION_WITHIN_S))
        return found

    def health(self) -> dict[str, object]:
        """What the executor says of itself: name, isolation level, languages. Raises as ``execute`` does."""
        found: dict[str, object] = orjson.loads(self._ask("GET", "/health", _QUESTION_WITHIN_S))
        return found

    def close(self) -> None:
        """Closes the idle connections."""
        for pool in self._pools:
            pool.close()

    def _ask(self, method: str, path: str, timeout_s: float, body: bytes | None = None) -> bytes:
        pools = itertools.cycle(self._pools)
        retrying = Retrying(
            retry=retry_if_exception_type(_PassingFaultError),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(self._retry_s),
            retry_error_callback=self._give_up,
        )
        answer: bytes = retrying(lambda: self._once(next(pools), method, path, timeout_s, body))
        return answer

    def _once(
        self, pool: urllib3.HTTPConnectionPool, method: str, path: str, timeout_s: float, body: bytes | None
    ) -> bytes:
        url = f"{pool.scheme}://{pool.host}:{pool.port}{path}"
        timeout = urllib3.Timeout(connect=_CONNECT_WITHIN_S, read=timeout_s)
        try:
            response = pool.urlopen(method, path, body, self._headers, retries=False, timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            raise _PassingFaultError(f"{url}: {error}") from error
        if response.status == HTTPStatus.OK:
            return response.data
        raise _refusal(url, response.status, response.data)

    def _give_up(self, state: RetryCallState) -> NoReturn:
        cause = state.outcome.exception() if state.outcome else None
        raise ExecutorUnavailable(
            f"{cause}; {state.attempt_number} attempts in {state.seconds_since_start or 0:.1f} s; "
            "see whether the executor runs (`crucible status`)"
        ) from cause


def _pool(url: str, connections: int) -> urllib3.HTTPConnectionPool:
    try:
        if url.startswith(("http://", "https://")):
            return urllib3.connection_from_url(url, maxsize=connections, block=True)
    except urllib3.exceptions.LocationParseError:
        pass
    raise SettingsError(f"{url!r} is not the URL of an executor; write http://HOST:PORT")


def _seconds_for(limits: Mapping[str, object]) -> float:
    wall_s = limits.get("wall_s")
    return (wall_s if isinstance(wall_s, int | float) else 10.0) * 5 + 60


def _refusal(url: str, status: int, body: bytes) -> CrucibleError | _PassingFaultError:
    if status == HTTPStatus.UNAUTHORIZED:
        return ExecutorUnavailable(
            f"{url} refused the token; give workers and executors the same CRUCIBLE_EXECUTOR_TOKEN"
        )
    problem = f"{url} answered {status}: {_problem(body)}"
    return InputError(problem) if status in _CALLERS_FAULT else _PassingFaultError(problem)


def _problem(body: bytes) -> str:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:200].decode("utf-8", "replace") or "no reason given"
    detail = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    return str(detail or document)[:500]
