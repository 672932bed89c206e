"""The part of a Celery worker that keeps up its connection to the broker."""

import time

from celery.worker.consumer import Consumer

_PAUSE_S = 1.0


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Celery's, which pauses before it connects again: a server that refuses commands takes connections."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """See Celery."""
        time.sleep(_PAUSE_S)
        super().on_connection_error_after_connected(exc)
