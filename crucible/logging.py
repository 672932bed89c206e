"""Log lines as JSON, one set-up for every process."""

import logging
import sys
from typing import Any, Literal

import structlog

Stream = Literal["stdout", "stderr"]


def configure_logging(
    stream: Stream = "stdout", level: int = logging.INFO, service: str | None = None
) -> None:
    """As ``configure_events``; libraries' own warnings go to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    configure_events(stream, level, service)


def configure_events(
    stream: Stream = "stdout", level: int = logging.INFO, service: str | None = None
) -> None:
    """Write structlog events from ``level`` on as one JSON object a line, and touch nothing else.

    Each line names ``service``, and what is bound by structlog's contextvars where it is written.
    """
    named = {} if service is None else {"service": service}

    def logger(*_: Any) -> structlog.PrintLogger:
        # Looked up each time: whoever runs a command inside another program may put another stream there.
        return structlog.PrintLogger(getattr(sys, stream))

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _logger, _method, event: {**event, **named},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=logger,
    )
