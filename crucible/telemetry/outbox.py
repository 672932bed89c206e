"""Where spans wait until a thread writes them: bounded, so that what is lost is a span and never time."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from crucible.telemetry.lost import dropped
from crucible.telemetry.record import Record

MOST_WAITING = 10_000
_AT_ONCE = 200
_GATHER_S = 0.5
_LAST_WITHIN_S = 2.0

Write = Callable[[Sequence[ReadableSpan | Record]], None]
"""Writes spans where they are read; may raise anything, they are lost then."""


class Outbox(SpanProcessor):
    """Takes what has ended and hands it to ``write`` in its own thread, together with what came meanwhile."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: deque[ReadableSpan | Record] = deque()
        self._arrived, self._closing = threading.Event(), threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor.on_end``."""
        self._put(span)

    def put(self, records: Sequence[Record]) -> None:
        """Take spans that another process has made and handed over."""
        for record in records:
            self._put(record)

    def shutdown(self) -> None:
        """Write what waits, if that goes within two seconds."""
        self._closing.set()
        self._arrived.set()
        self._thread.join(_LAST_WITHIN_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 (the base class's)
        """Nothing here waits for long."""
        return True

    def _put(self, what: ReadableSpan | Record) -> None:
        if len(self._waiting) >= MOST_WAITING:
            dropped("queue full", 1)
            return
        self._waiting.append(what)
        if not self._arrived.is_set():
            self._arrived.set()

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._waiting):
            self._arrived.wait()
            self._closing.wait(_GATHER_S)
            self._arrived.clear()
            while self._waiting:
                self._write_some()

    def _write_some(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        try:
            self._write(some)
        except Exception as error:  # noqa: BLE001 (whatever the place raises where spans go, work goes on)
            dropped("not written", len(some))
            if not self._is_away:
                structlog.get_logger().warning("spans are not written", reason=str(error))
            self._is_away = True
        else:
            self._is_away = False
