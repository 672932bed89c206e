"""The client of the executor service: one run in, the bytes of one observation out."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import quote

import orjson
import urllib3
from opentelemetry.trace import SpanKind
from pydantic import ValidationError
from tenacity import RetryCallState, Retrying

from crucible.errors import CrucibleError, ExecutorFault, ExecutorUnavailable, InputError, SettingsError
from crucible.models import Observation
from crucible.retries import Patience, told
from crucible.telemetry.spans import TRACEPARENT, here, span, text_of
from executors.gates import Gate, OpenGate, Outcome, Pauses, Turns
from executors.timings import TIMING_HEADER, tell_request

_CALLERS_FAULT = frozenset({400, 404, 405, 413, 415, 422})
_BUSY = str(HTTPStatus.TOO_MANY_REQUESTS.value)
_CONNECT_WITHIN_S = 3.0
_QUESTION_WITHIN_S = 10.0
_HEALTH_WITHIN_S = 5.0
_BUSY_WITHIN_S = 120.0
"""How long a program may wait, beside the time for retries, for executors that ask for it."""


class ExecutorClient:
    """Runs programs on the executors at ``urls``, the first one first. Safe to use from several threads.

    Faults of the platform are tried again over ``retry_s`` seconds, each time at the next URL. That is
    safe because an executor that gets an id again joins the run under way or repeats its answer. An
    executor whose gate is shut is passed over, and so is one that said when to come again, until then; where
    all did, a program waits for that. ``connections`` is how many requests to one executor may be under way
    at once.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        retry_s: float,
        connections: int,
        gate_of: Callable[[str], Gate] = OpenGate,
    ) -> None:
        if not urls:
            raise SettingsError(
                "no executor is named; set CRUCIBLE_LEGACY_EXECUTOR_URLS or CRUCIBLE_CELERY_EXECUTOR_URL"
            )
        self._patience = Patience(retry_s)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._pools = tuple(_pool(url, connections) for url in urls)
        self._gates = tuple(gate_of(url) for url in urls)

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """The JSON of the observation of one run, byte for byte as the executor wrote it.

        Raises ``InputError`` when the executor refuses the request (unknown language, too large),
        ``CircuitOpen`` at once when no executor may be asked now, and ``ExecutorUnavailable`` when none
        gave an answer in time.
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
        turns = Turns(self._gates, _judge, lambda error: isinstance(error, ExecutorFault), _asks_s)
        pauses = Pauses(self._patience, turns, _BUSY_WITHIN_S if path == "/execute" else 0.0)
        retrying = Retrying(
            before=turns.before,
            retry=turns.retry,
            wait=pauses.wait,
            stop=pauses.stop,
            before_sleep=told("executor"),
            retry_error_callback=_give_up,
        )
        answer: bytes = retrying(self._attempt, turns, method, path, timeout_s, body)
        return answer

    def _attempt(self, turns: Turns, method: str, path: str, timeout_s: float, body: bytes | None) -> bytes:
        if turns.ticket:  # an executor that hangs must not keep the program that is to probe it
            self._once(turns.chosen, "GET", "/health", _QUESTION_WITHIN_S)
        if path != "/execute":
            return self._once(turns.chosen, method, path, timeout_s, body)
        executor = self._gates[turns.chosen].name
        with span("attempt", {"executor": executor}, SpanKind.CLIENT):
            answer = self._once(turns.chosen, method, path, timeout_s, body)
            _check_observation(executor, answer)
        return answer

    def _once(
        self, number: int, method: str, path: str, timeout_s: float, body: bytes | None = None
    ) -> bytes:
        pool, executor = self._pools[number], self._gates[number].name
        url = f"{pool.scheme}://{pool.host}:{pool.port}{path}"
        timeout = urllib3.Timeout(connect=_CONNECT_WITHIN_S, read=timeout_s)
        place, began_ns = here(), time.time_ns()
        headers = self._headers if place is None else {**self._headers, TRACEPARENT: text_of(place)}
        try:
            response = pool.urlopen(method, path, body, headers, retries=False, timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            raise ExecutorFault(executor, type(error).__name__, f"{url}: {error}") from error
        fault = None if response.status == HTTPStatus.OK else _problem(response.data)
        if path == "/execute":
            tell_request(response.headers.get(TIMING_HEADER, ""), began_ns, fault)
        if fault is None:
            return response.data
        raise _refusal(executor, url, response, fault)


def _judge(error: BaseException) -> Outcome:
    """An executor that refuses a request, or has enough to do, is a healthy one."""
    if isinstance(error, ExecutorFault):
        return "answered" if error.cause == _BUSY else "failed"
    return "answered" if isinstance(error, CrucibleError) else "unknown"


def _asks_s(error: BaseException) -> float:
    return error.retry_after_s if isinstance(error, ExecutorFault) else 0.0


def _give_up(state: RetryCallState) -> NoReturn:
    cause = state.outcome.exception() if state.outcome else None
    raise ExecutorUnavailable(
        f"{cause}; {state.attempt_number} attempts in {state.seconds_since_start or 0:.1f} s; "
        "see whether the executor runs (`crucible status`)"
    ) from cause


def _check_observation(executor: str, answer: bytes) -> None:
    try:
        Observation.model_validate_json(answer)
    except ValidationError as error:
        said = answer[:80].decode("utf-8", "replace")
        raise ExecutorFault(
            executor, "NoObservation", f"{executor} answered {said!r}, which is no observation"
        ) from error


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


def _refusal(executor: str, url: str, response: urllib3.BaseHTTPResponse, fault: str) -> CrucibleError:
    status = response.status
    if status == HTTPStatus.UNAUTHORIZED:
        return ExecutorUnavailable(
            f"{url} refused the token; give workers and executors the same CRUCIBLE_EXECUTOR_TOKEN"
        )
    problem = f"{url} answered {status}: {fault}"
    if status in _CALLERS_FAULT:
        return InputError(problem)
    after = response.headers.get("Retry-After", "")
    return ExecutorFault(executor, str(status), problem, float(after) if after.isdecimal() else 0.0)


def _problem(body: bytes) -> str:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:200].decode("utf-8", "replace") or "no reason given"
    detail = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    return str(detail or document)[:500]


def languages_of_all(executor_urls: Sequence[str], token: str) -> dict[str, str]:
    """The languages that every executor runs, with the version of the first. Blocks for seconds at most.

    An executor that does not answer is passed over: what it should run will be unpaired and say why.
    Raises ``ExecutorUnavailable`` when none answers.
    """
    found, faults = [], []
    for url in executor_urls:
        client = ExecutorClient([url], token, _HEALTH_WITHIN_S, 1)
        try:
            found.append(client.languages())
        except ExecutorUnavailable as fault:
            faults.append(fault)
        finally:
            client.close()
    if not found:
        raise faults[0]
    return {name: version for name, version in found[0].items() if all(name in each for each in found)}


_WITHIN_S = 2.0


class Killer:
    """Has the executors at ``urls`` end runs. Threads that share one are served one after the other.

    It needs connections of its own: those of clients that wait for programs are all in use just then.
    """

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pools = tuple(urllib3.connection_from_url(url, maxsize=1, block=True) for url in urls)

    def end(self, run_ids: Collection[str]) -> int:
        """Have every executor end those of ``run_ids`` that it has; returns how many it had.

        An executor that does not answer is asked no further, and nothing is raised.
        """
        ended = 0
        for pool in self._pools:
            try:
                for run_id in run_ids:
                    ended += self._is_ended(pool, run_id)
            except urllib3.exceptions.HTTPError:
                continue
        return ended

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.close()

    def _is_ended(self, pool: urllib3.HTTPConnectionPool, run_id: str) -> bool:
        path, timeout = f"/executions/{quote(run_id)}", urllib3.Timeout(_WITHIN_S)
        # Once more over a new connection: an executor closes those that were not used for a while.
        tries = urllib3.Retry(1, backoff_factor=0)
        response = pool.urlopen("DELETE", path, None, self._headers, retries=tries, timeout=timeout)
        return response.status == HTTPStatus.ACCEPTED
