"""Background services: the loops of a process, started again after any error, and counted.

A loop reports each round that went well. A service is *overdue* when that was longer ago than its bound, or
when it has failed for a quarter of a minute; a process with an overdue service that is required is not ready.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from weakref import WeakSet

import structlog
from prometheus_client import Counter, Gauge
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from crucible.errors import CrucibleError

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_LEAST_BOUND_S = 15.0
_FAILING_BOUND_S = 15.0
_IDLE_ROUND_S = 2.0
_THREADS_END_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How a background service does.

    ``failures`` counts since the process began. ``last_error`` is one line, and stays after the service has
    recovered. ``failing_s`` says for how long it has failed, 0 since a round went well. ``overdue`` says why
    the service is overdue, ``None`` while it is not.
    """

    name: str
    required: bool
    failures: int
    failing_s: float
    last_error: str | None
    overdue: str | None


class BackgroundService:
    """One loop under supervision, made by ``BackgroundServices``. Safe to use from several threads."""

    def __init__(self, name: str, bound_s: float, *, required: bool) -> None:
        self.name, self.bound_s, self.required = name, bound_s, required
        self._failures = self._in_a_row = 0
        self._last_error: str | None = None
        self._last_round = self._failing_since = time.monotonic()
        self._log = structlog.get_logger().bind(background=name)
        _failures().labels(name)
        _of_name(name).add(self)
        _well().labels(name).set_function(lambda: float(all(each.is_well() for each in list(_of_name(name)))))

    def forget(self) -> None:
        """Show it as a gauge no more: it was ended."""
        _of_name(self.name).discard(self)
        if not _of_name(self.name):
            with suppress(KeyError):
                _well().remove(self.name)

    def round_done(self) -> None:
        """Report that a round went well. The loop calls this at least once in ``bound_s``."""
        self._last_round = time.monotonic()
        if self._in_a_row:
            self._in_a_row = 0
            self._log.info("background service works again")

    async def idle(self, until: asyncio.Event) -> None:
        """Wait for ``until``; a loop that has nothing to do before is well."""
        while not until.is_set():
            self.round_done()
            with suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_ROUND_S):
                    await until.wait()

    def state(self) -> ServiceState:
        """How the service does now."""
        now = time.monotonic()
        silent_s = now - self._last_round
        failing_s = now - self._failing_since if self._in_a_row else 0.0
        overdue = None
        if failing_s > min(self.bound_s, _FAILING_BOUND_S):
            overdue = f"fails for {failing_s:.0f} s: {self._last_error}"
        elif silent_s > self.bound_s:
            overdue = f"no round for {silent_s:.0f} s (bound {self.bound_s:g} s), and no error: it hangs"
        return ServiceState(self.name, self.required, self._failures, failing_s, self._last_error, overdue)

    def is_well(self) -> bool:
        """Whether its last round went well and is within its bound."""
        return not self._in_a_row and time.monotonic() - self._last_round <= self.bound_s

    async def supervise(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run ``loop`` until it returns or this task is cancelled; again, after a pause, when it fails."""
        task = asyncio.current_task()

        async def awaited() -> None:  # tenacity awaits only what it can tell is a coroutine function
            try:
                await loop()
            except asyncio.CancelledError as error:
                if task is None or task.cancelling():
                    raise
                raise RuntimeError("something that it awaited was cancelled") from error

        await AsyncRetrying(retry=retry_if_exception_type(Exception), wait=self._pause_s)(awaited)

    def supervise_thread(self, loop: Callable[[], None], stopping: threading.Event) -> None:
        """Run ``loop`` until it returns; again, after a pause, when it fails, unless ``stopping`` is set."""

        def unless_stopping() -> None:
            if not stopping.is_set():
                loop()

        def pause(seconds: float) -> None:
            stopping.wait(seconds)

        Retrying(retry=retry_if_exception_type(Exception), wait=self._pause_s, sleep=pause)(unless_stopping)

    def _pause_s(self, attempt: RetryCallState) -> float:
        error = attempt.outcome.exception() if attempt.outcome else None
        self._failed(error or RuntimeError("no reason given"))
        attempt.attempt_number = self._in_a_row  # a loop that worked for a while begins with short pauses
        return wait_random_exponential(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)(attempt)

    def _failed(self, error: BaseException) -> None:
        if not self._in_a_row:
            self._failing_since = time.monotonic()
            defect = None if isinstance(error, CrucibleError) else error
            self._log.warning("background service failed", reason=repr(error), exc_info=defect)
        self._failures += 1
        self._in_a_row += 1
        self._last_error = " ".join(str(error).split()) or type(error).__name__
        _failures().labels(self.name).inc()


class BackgroundServices:
    """The background services of one process, by name. To be closed when the process ends.

    ``prefix`` begins the names of all of them: for a second set within one process.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._services: dict[str, BackgroundService] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def states(self) -> tuple[ServiceState, ...]:
        """How each service does now."""
        return tuple(each.state() for each in list(self._services.values()))

    def every(
        self,
        seconds: float,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        bound_s: float | None = None,
        required: bool = True,
    ) -> None:
        """Await ``work`` now and again ``seconds`` after each end, in a task of the running event loop."""

        async def loop(service: BackgroundService) -> None:
            while True:
                await work()
                service.round_done()
                await asyncio.sleep(seconds)

        self.keep(name, loop, bound_s=bound_s or _bound_s(seconds), required=required)

    def keep(
        self,
        name: str,
        loop: Callable[[BackgroundService], Awaitable[None]],
        *,
        bound_s: float,
        required: bool = True,
    ) -> None:
        """Keep ``loop`` running in a task; it calls ``round_done`` of what it is given."""
        service = self._add(name, bound_s, required=required)
        self._tasks[service.name] = asyncio.create_task(
            service.supervise(lambda: loop(service)), name=service.name
        )

    def every_in_thread(
        self,
        seconds: float,
        name: str,
        work: Callable[[], object],
        *,
        bound_s: float | None = None,
        required: bool = True,
    ) -> None:
        """As ``every``, in a thread."""

        def loop(service: BackgroundService, stopping: threading.Event) -> None:
            while not stopping.is_set():
                work()
                service.round_done()
                stopping.wait(seconds)

        self.keep_in_thread(name, loop, bound_s=bound_s or _bound_s(seconds), required=required)

    def keep_in_thread(
        self,
        name: str,
        loop: Callable[[BackgroundService, threading.Event], None],
        *,
        bound_s: float,
        required: bool = True,
    ) -> None:
        """As ``keep``, in a thread; ``loop`` returns soon after its event is set."""
        service, stopping = self._add(name, bound_s, required=required), threading.Event()
        thread = threading.Thread(
            target=service.supervise_thread,
            args=(lambda: loop(service, stopping), stopping),
            name=service.name,
            daemon=True,  # a process that ends does not wait for a loop that hangs
        )
        self._threads[service.name] = thread, stopping
        thread.start()

    async def end(self, name: str) -> None:
        """Cancel the task of one service and wait for its end; nothing happens to one that is not there."""
        await self._end(f"{self._prefix}{name}")

    async def aclose(self) -> None:
        """End all services: tasks are cancelled, threads stopped."""
        for name in list(self._tasks):
            await self._end(name)
        await asyncio.to_thread(self.stop_threads)

    def stop_threads(self, *names: str, within_s: float = _THREADS_END_WITHIN_S) -> None:
        """Stop the threads of these services, or of all, and wait ``within_s`` seconds for their end.

        A thread of them may call this; it is not waited for.
        """
        threads = [f"{self._prefix}{name}" for name in names] or tuple(self._threads)
        ending = [self._threads.pop(name) for name in threads]
        for thread, stopping in ending:
            stopping.set()
            self._services.pop(thread.name).forget()
        deadline = time.monotonic() + within_s
        for thread, _ in ending:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    async def _end(self, name: str) -> None:
        if task := self._tasks.pop(name, None):
            self._services.pop(name).forget()
            task.cancel()
            await asyncio.wait({task})

    def _add(self, name: str, bound_s: float, *, required: bool) -> BackgroundService:
        name = f"{self._prefix}{name}"
        if name in self._services:
            raise ValueError(f"a background service {name!r} runs already")
        service = self._services[name] = BackgroundService(name, bound_s, required=required)
        return service


def _bound_s(every_s: float) -> float:
    """Time for a few rounds, each with a failure and its pause."""
    return max(3 * every_s, _LEAST_BOUND_S)


@cache
def _of_name(_name: str) -> WeakSet[BackgroundService]:
    """Those of that name in all ``BackgroundServices`` of this process: it may play two parts."""
    return WeakSet()


@cache
def _failures() -> Counter:
    return Counter("crucible_background_failures", "Errors that ended a background service.", ("service",))


@cache
def _well() -> Gauge:
    return Gauge(
        "crucible_background_well",
        "1 while the last round of a background service went well and is within its bound.",
        ("service",),
    )
