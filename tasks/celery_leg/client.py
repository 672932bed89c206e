"""The sending end of the Celery leg."""

import asyncio
from collections.abc import Sequence

from kombu.exceptions import BatchPublishError, OperationalError

from crucible.models import Leg
from crucible.settings import CelerySettings
from tasks.celery_leg.app import RUN_NAME, arguments, broker_priority, make_app
from tasks.connections import LOST, unavailable
from tasks.dispatch import Dispatch


class CeleryClient:
    """Publishes runs as Celery messages; the id of a message is that of its run, however often it is sent."""

    leg: Leg = "celery"

    def __init__(self, celery_redis_url: str, settings: CelerySettings) -> None:
        self._url = celery_redis_url
        self._app = make_app(celery_redis_url, settings)

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """See ``LegClient.send``."""
        if dispatches:
            await asyncio.to_thread(self._publish, dispatches)

    async def aclose(self) -> None:
        """See ``LegClient.aclose``."""
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
                        # A message goes straight to its list; no exchange has to know the queue.
                        declare=[],
                        ignore_result=True,
                        # What a message shows of its arguments in logs: nothing, and so it costs nothing.
                        argsrepr="",
                        kwargsrepr="",
                    )
        except (BatchPublishError, OperationalError, *LOST) as error:
            raise unavailable(self._url, "Celery's broker", error.__cause__ or error) from error
