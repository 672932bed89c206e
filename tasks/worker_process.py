"""What the worker processes of both legs share: settings, log, readiness, an orderly end."""

import gc
import logging
import sys
from dataclasses import dataclass

import structlog

from crucible.errors import SettingsError
from crucible.settings import FlowSettings, Settings, WorkerSettings, load
from tasks.claims import Terms

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
