"""The consumer of a Celery worker: how it keeps up its connection, and how it sends events for Flower."""

import time
from typing import Any

from celery import Celery, bootsteps
from celery.worker.consumer import Consumer
from celery.worker.consumer.events import Events

_PAUSE_S = 1.0


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Celery's, which pauses before it connects again: a server that refuses commands takes connections."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """See Celery."""
        time.sleep(_PAUSE_S)
        super().on_connection_error_after_connected(exc)


_EVERY_S = 0.5
_AT_ONCE = 200


class EventsTogether(bootsteps.StartStopStep):  # type: ignore[misc]
    """Begins anew at each connection, for the part that sends events is then a new one."""

    requires = (Events,)

    def __init__(self, consumer: Consumer, **more: Any) -> None:
        super().__init__(consumer, **more)
        self.enabled = consumer.app.conf.worker_send_task_events
        self._timer: Any = None

    def start(self, consumer: Consumer) -> None:
        """Keep events back, and send them from the worker's own loop."""
        dispatcher = consumer.event_dispatcher
        dispatcher.on_send_buffered = None
        dispatcher.buffer_limit = _AT_ONCE
        self._timer = consumer.timer.call_repeatedly(_EVERY_S, dispatcher.flush)

    def stop(self, consumer: Consumer) -> None:  # noqa: ARG002 (Celery's own)
        """Send no more; what the connection to come will have to send is kept by Celery."""
        if self._timer is not None:
            self._timer.cancel()


def send_together(app: Celery) -> None:
    """Have the workers of ``app`` send their events so, if they send any."""
    app.steps["consumer"].add(EventsTogether)
