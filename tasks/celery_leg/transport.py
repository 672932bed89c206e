"""Celery's Redis transport, without a new client object for each command.

kombu makes a Redis client twice a message, to note that it was delivered and that it was
acknowledged. Clients are safe to share and costly to make, so a channel keeps one.
"""

from functools import cached_property
from typing import Any

from kombu.transport.redis import Channel, Transport


class FrugalChannel(Channel):
    """A channel that keeps the client with which it publishes and acknowledges."""

    @cached_property
    def _shared_client(self) -> Any:
        return super()._create_client()  # type: ignore[no-untyped-call]

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 (kombu's own)
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        return self._shared_client


class FrugalTransport(Transport):
    """The transport of the Celery leg."""

    Channel = FrugalChannel
