"""Celery's Redis transport, without a new client object for each command.

kombu makes a Redis client twice a message, to note that it was delivered and that it was
acknowledged. Clients are safe to share and costly to make, so a channel keeps one.

Nor can a message harm its worker: kombu would end the process on an item that is no JSON, and Celery would
hold one whose body cannot be decoded for ever, in a place of what it prefetches.

Nor can an answer of the server: whatever error that is, the worker connects again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from kombu.transport import virtual
from kombu.transport.redis import Channel, QoS, Transport
from redis.exceptions import RedisError

Accept = Callable[[str, bytes], bool]
"""Whether an item of a list, given the list's name, is a message that a worker can read."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A test as a transport option: a worker that is asked about itself shows its options as JSON."""

    accept: Accept

    def __call__(self, queue: str, item: bytes) -> bool:
        """Whether ``item`` of the list ``queue`` can be read."""
        return self.accept(queue, item)

    def __json__(self) -> str:
        return "messages that can be read"


class FaultTolerantQoS(QoS):
    """What a worker has taken and not acknowledged."""

    def ack(self, delivery_tag: str) -> None:
        """See kombu. A message whose acknowledgement fails no longer counts as one that the worker holds.

        Otherwise a worker with so many of them would take nothing any more. The message is handed out again
        after its visibility timeout, and dropped since its run was answered.
        """
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise


class FrugalChannel(Channel):
    """A channel that keeps the client with which it publishes and acknowledges.

    With the transport option ``accept`` it takes what that refuses from the queue and goes on as if there
    had been nothing.
    """

    QoS = FaultTolerantQoS
    accept: Accept | None = None
    from_transport_options: tuple[str, ...] = (*Channel.from_transport_options, "accept")  # type: ignore[assignment]

    @cached_property
    def _shared_client(self) -> Any:
        return super()._create_client()  # type: ignore[no-untyped-call]

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 (kombu's own)
        if not asynchronous:
            return self._shared_client
        client = super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self.accept is not None:
            client.parse_response = partial(_accepted, client.parse_response, self.accept)
        return client


def _accepted(
    parse: Callable[..., Any], accept: Accept, connection: Any, command: str, **options: Any
) -> Any:
    reply = parse(connection, command, **options)
    if command == "BRPOP" and reply and not accept(reply[0].decode(), reply[1]):
        return None  # as when the wait was in vain
    return reply


class FrugalTransport(Transport):
    """The transport of the Celery leg."""

    Channel = FrugalChannel
    connection_errors = (*Transport.connection_errors, RedisError)
