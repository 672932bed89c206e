"""The Celery application, made from settings when asked for."""

from celery import Celery
from kombu.transport.redis import Channel

from crucible.settings import CelerySettings

_MOST_URGENT = 9


def make_app(broker_url: str, settings: CelerySettings) -> Celery:
    """The application for both ends of the leg; connects to nothing.

    It keeps no results: answers go to the reply stream. A message is acknowledged when its run
    has been reported, and a worker holds no more messages than it has threads, so that an urgent one
    waits for none that came before it.
    """
    app = Celery("crucible", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_transport="tasks.celery_leg.transport:FrugalTransport",
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(settings),
        task_acks_late=True,
        task_acks_on_failure=True,
        task_default_queue=settings.queue,
        task_ignore_result=True,
        task_publish_retry=False,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_concurrency=settings.concurrency,
        worker_consumer="tasks.celery_leg.consumer:PatientConsumer",
        worker_enable_remote_control=settings.events,
        worker_hijack_root_logger=False,
        worker_pool="threads",
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        worker_send_task_events=settings.events,
        # A second start of a run while the first one goes on is harmless: it finds the claim held.
        task_track_started=False,
    )
    return app


def broker_priority(priority: int) -> int:
    """Celery's number for one of ours: on Redis 0 is the most urgent, here 9 is."""
    return _MOST_URGENT - priority


def broker_keys(settings: CelerySettings) -> tuple[str, ...]:
    """Celery's keys: messages that wait for an acknowledgement, the index of those, and the queue's lists."""
    unacked = (f"{settings.key_prefix}{key}" for key in (Channel.unacked_key, Channel.unacked_index_key))
    return (*unacked, *queue_keys(settings))


def queue_keys(settings: CelerySettings) -> tuple[str, ...]:
    """The lists of the queue, most urgent first; messages are taken from their right."""
    queue = f"{settings.key_prefix}{settings.queue}"
    return tuple(f"{queue}{Channel.sep}{step}" if step else queue for step in range(_MOST_URGENT + 1))


def _transport_options(settings: CelerySettings) -> dict[str, object]:
    return {
        "global_keyprefix": settings.key_prefix,
        "health_check_interval": 10,
        "priority_steps": list(range(_MOST_URGENT + 1)),
        "queue_order_strategy": "priority",
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "socket_timeout": 15,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "visibility_timeout": settings.visibility_timeout_s,
    }
