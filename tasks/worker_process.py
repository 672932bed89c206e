"""What the workers of both legs share: settings, log, readiness, and what is done with one run."""

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import orjson
import structlog
from opentelemetry.trace import Span
from prometheus_client import Counter, Histogram

from crucible.errors import CrucibleError, ServiceUnavailable, SettingsError
from crucible.models import Leg
from crucible.settings import BreakerSettings, FlowSettings, Settings, WorkerSettings, load
from crucible.telemetry.metrics import WAIT_S
from crucible.telemetry.spans import begin, context_of, failed, here, inside, link_to, span, text_of
from executors.client import ExecutorClient
from tasks.claims import Claim, Claims, ClaimState, Terms
from tasks.dispatch import Run
from tasks.resilience.breaker import Breakers
from tasks.resilience.sending import Parking

STOP_WITHIN_S = 10.0
"""How long a worker that must stop waits for the runs it has; then it gives them back."""

READY_LINE = "CRUCIBLE_READY"

_COLLECT_AFTER = 20_000


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker must know. ``redis_url`` is that of claims and replies."""

    name: str
    redis_url: str
    executor_token: str
    retry_s: float
    terms: Terms

    @property
    def renew_every_s(self) -> float:
        """Seconds between renewals: a claim outlives two that fail."""
        return self.terms.lease_ms / 3000


def options_from_environment() -> WorkerOptions:
    """The options of this process. Raises ``SettingsError`` when one is missing or wrong."""
    settings, worker, flow = load(Settings), load(WorkerSettings), load(FlowSettings)
    if settings.redis_url is None:
        raise SettingsError("CRUCIBLE_REDIS_URL is not set; a worker needs the Redis of claims and replies")
    if settings.executor_token is None:
        raise SettingsError("CRUCIBLE_EXECUTOR_TOKEN is not set; a worker needs it to use an executor")
    return WorkerOptions(
        name=worker.name,
        redis_url=settings.redis_url,
        executor_token=settings.executor_token.get_secret_value(),
        retry_s=worker.retry_s,
        terms=Terms(int(worker.lease_s * 1000), flow.result_ttl_s * 1000),
    )


def start_log(worker: str) -> None:
    """Sends this process's log to standard output, one JSON object a line, other libraries' warnings too."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {**event, "service": worker},
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def announce_ready() -> None:
    """Says on standard output that this worker takes work; to be called once, when all is built."""
    # What is built by now stays, so the collector need not walk it again and again: a tenth of the
    # CPU that a run costs here.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    sys.stdout.write(f"{READY_LINE}\n")
    sys.stdout.flush()


def show_nothing_yet(leg: Leg) -> None:
    """Show every counter at 0, so that its first step is seen as one."""
    _waits().labels(leg)
    for state in ClaimState:
        _runs().labels(leg, state)
    for outcome in ("answer", "duplicate", "fault"):
        _reports().labels(leg, outcome)


@contextlib.contextmanager
def told(run: Run, leg: Leg) -> Iterator[None]:
    """Have spans and log lines inside belong to ``run``."""
    bound = {"run_id": run.run_id, "evaluation": run.run_id.rpartition(".")[0], "leg": leg}
    if run.trace is not None:
        bound["trace_id"] = f"{run.trace.trace_id:032x}"
    with structlog.contextvars.bound_contextvars(**bound), inside(run.trace):
        yield


def claimed(run: Run, claims: Claims) -> Claim:
    """``claims.claim(run)``, with a link to the claim that this one repeats, where a worker had the run."""
    taken_ns = time.time_ns()
    with span("claim", {"leg": claims.leg}) as claiming:
        claim = claims.claim(run)
        if claiming.is_recording():
            claiming.set_attribute("state", claim.state)
            if claim.state is ClaimState.CLAIMED:
                _link(claiming, run, claims)
    if claim.state is ClaimState.CLAIMED and run.enqueued_ms is not None:
        _tell_wait(run, claims.leg, run.enqueued_ms * 1_000_000, taken_ns)
    _runs().labels(claims.leg, claim.state).inc()
    return claim


def ended(leg: Leg, outcome: str) -> None:
    """Count a run that this worker has reported; a line in the log where it is traced."""
    _reports().labels(leg, outcome).inc()
    place = here()
    if place is not None and place.trace_flags.sampled:
        structlog.get_logger().info("run reported", outcome=outcome)


def _link(claiming: Span, run: Run, claims: Claims) -> None:
    with contextlib.suppress(ServiceUnavailable):  # then the run's report will say so
        before = context_of(claims.repeated(run, text_of(claiming.get_span_context())))
        if before is not None:
            link = link_to(before, "claimed again")
            claiming.add_link(link.context, link.attributes)


def _tell_wait(run: Run, leg: Leg, since_ns: int, taken_ns: int) -> None:
    since_ns = min(since_ns, taken_ns)  # the sender's clock may be ahead
    _waits().labels(leg).observe((taken_ns - since_ns) / 1e9)
    begin("queue wait", run.trace, {"leg": leg}, start_ns=since_ns).end(taken_ns)


@cache
def _waits() -> Histogram:
    return Histogram(
        "crucible_queue_wait_seconds", "From being sent to being taken by a worker.", ("leg",), buckets=WAIT_S
    )


@cache
def _runs() -> Counter:
    return Counter("crucible_worker_claims", "Runs that workers asked for.", ("leg", "state"))


@cache
def _reports() -> Counter:
    return Counter("crucible_worker_reports", "What workers reported of runs.", ("leg", "outcome"))


# A program's words are base64 in an observation, so these bytes can only be the platform's.
_SANDBOX_ERROR = b'"sandbox_error"'
_CANCELLED = b'{"outcome":"cancelled"}'


class Executor(Protocol):
    """Whoever gets a program run."""

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """See ``ExecutorClient.execute``."""


def executor_behind(
    breakers: Breakers, urls: Sequence[str], options: WorkerOptions, claims: Claims, threads: int
) -> Executor:
    """The executors at ``urls`` for so many threads; while the breakers of all are open, runs are parked."""
    client = ExecutorClient(urls, options.executor_token, options.retry_s, threads, breakers.of_executor)
    return Parking(client, load(BreakerSettings).park_s, claims.cancelled)


def run_one(run: Run, claims: Claims, executor: Executor) -> ClaimState:
    """Carries ``run`` through the executor and reports its observation, or a fault.

    Returns the state of the claim: a run that is held or was answered is dropped, since its sender
    sends it again when nobody has it; one that was cancelled is reported as such and not run. Raises
    ``ServiceUnavailable`` when the report could not be made.
    """
    with told(run, claims.leg):
        return _claim_and_run(run, claims, executor)


def _claim_and_run(run: Run, claims: Claims, executor: Executor) -> ClaimState:
    claim = claimed(run, claims)
    if claim.state is ClaimState.CANCELLED:
        _report(claims, claim, _CANCELLED)
    if claim.state is not ClaimState.CLAIMED:
        return claim.state
    try:
        with span("execute", {"leg": claims.leg}):
            observation = executor.execute(run.run_id, run.language, run.code, run.stdin, run.limits)
        if _SANDBOX_ERROR in observation:
            _report_fault(claims, claim, f"the executor's sandbox failed: {_detail(observation)}")
        else:
            _report(claims, claim, observation)
    except CrucibleError as error:
        _report_fault(claims, claim, str(error))
    finally:
        claims.abandon(claim)
    return claim.state


def _report(claims: Claims, claim: Claim, observation: bytes) -> None:
    with span("report", {"leg": claims.leg}):
        was_first = claims.answer(claim, observation)
    ended(claims.leg, "answer" if was_first else "duplicate")


def _report_fault(claims: Claims, claim: Claim, reason: str) -> None:
    structlog.get_logger().warning("no observation", reason=reason)
    with span("report", {"leg": claims.leg}) as reporting:
        failed(reporting, reason)
        claims.fault(claim, " ".join(reason.split()))
    ended(claims.leg, "fault")


def _detail(observation: bytes) -> str:
    return orjson.loads(observation).get("detail") or "it gave no detail"
