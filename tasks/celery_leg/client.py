"""The sending end of the Celery leg."""

import asyncio
from collections.abc import Collection, Sequence

from kombu.exceptions import BatchPublishError, OperationalError
from redis.exceptions import RedisError

from crucible.models import Leg
from crucible.settings import CelerySettings
from executors.gates import Gate, OpenGate
from tasks.celery_leg.app import broker_keys, broker_priority, make_app
from tasks.celery_leg.message import ID_PATTERN, RUN_NAME, arguments
from tasks.connections import address, connect_async, redis_fault
from tasks.dispatch import Dispatch, trace_fields
from tasks.resilience.sending import Sending
from tasks.scripts import signatures

_BROKER_FAULTS = (BatchPublishError, OperationalError, RedisError, OSError)
"""What kombu raises when the broker did not take messages; the first two have the reason as their cause."""


class CeleryClient:
    """Publishes runs as Celery messages; the id of a message is that of its run, however often it is sent."""

    leg: Leg = "celery"

    def __init__(self, celery_redis_url: str, settings: CelerySettings, gate: Gate | None = None) -> None:
        self._url = celery_redis_url
        self._app = make_app(celery_redis_url, settings)
        # kombu would look for the broker for seconds by itself; whether to try again is not its business.
        self._app.conf.broker_transport_options |= {"max_retries": 0}
        self._sending = Sending(gate or OpenGate("celery-redis"))
        self._unacked, self._unacked_index, *self._queues = broker_keys(settings)
        self._redis = connect_async(celery_redis_url)
        self._withdraw = signatures.withdraw_messages.on_loop(self._redis)

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """See ``LegClient.send``."""
        if dispatches:
            await asyncio.to_thread(self._sending.blocking, lambda: self._publish(dispatches))

    async def withdraw(self, run_ids: Collection[str]) -> int:
        """See ``LegClient.withdraw``; here also what a worker has taken and not yet acknowledged.

        Such a message would be handed out again if its worker is no more, long after anybody wants it.
        """
        return await self._withdraw(
            unacked=self._unacked,
            unacked_index=self._unacked_index,
            queues=self._queues,
            id_pattern=ID_PATTERN,
            run_ids=tuple(run_ids),
        )

    async def aclose(self) -> None:
        """See ``LegClient.aclose``."""
        await self._redis.aclose()
        await asyncio.to_thread(self._app.close)

    def _publish(self, dispatches: Sequence[Dispatch]) -> None:
        try:
            with self._app.producer_pool.acquire(block=True) as producer, producer.batch(max_size=1000):
                for dispatch in dispatches:
                    self._app.send_task(
                        RUN_NAME,
                        args=arguments(dispatch),
                        task_id=dispatch.run_id,
                        priority=broker_priority(dispatch.evaluation.priority),
                        producer=producer,
                        headers=trace_fields(dispatch),
                        # A message goes straight to its list; no exchange has to know the queue.
                        declare=[],
                        ignore_result=True,
                        # What a message shows of its arguments in logs: nothing, and so it costs nothing.
                        argsrepr="",
                        kwargsrepr="",
                    )
        except _BROKER_FAULTS as error:
            raise redis_fault(address(self._url), error.__cause__ or error) from error
