"""What is sent to a leg, and how."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crucible.models import Evaluation, Leg


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One run to send: ``reply_to`` is the key of the stream on which its reply is awaited."""

    run_id: str
    evaluation: Evaluation
    reply_to: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run as a worker receives it. ``payload`` is the legacy queue's own copy of it, byte for byte."""

    run_id: str
    language: str
    code: str
    stdin: str
    limits: Mapping[str, object]
    reply_to: str
    payload: bytes | None = None

    def __post_init__(self) -> None:
        """Raises ``TypeError`` when a part is of another type, for anybody may write to a queue."""
        texts = (self.run_id, self.language, self.code, self.stdin, self.reply_to)
        if not (all(isinstance(each, str) for each in texts) and isinstance(self.limits, Mapping)):
            raise TypeError("limits must be an object, and all else text")


class LegClient(Protocol):
    """The sending end of a leg."""

    @property
    def leg(self) -> Leg:
        """Which leg this is."""

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """Puts all of ``dispatches`` on the leg's queue in one round trip.

        At least once: when it raises, some may have been sent; sending the same run ids again is
        always safe. Raises ``ServiceUnavailable`` when the queue's Redis does not answer.
        """

    async def withdraw(self, run_ids: Collection[str]) -> int:
        """Takes what waits for a worker of these runs out of the leg's queue; returns how many it were.

        A run that a worker has taken is not touched. Raises ``ServiceUnavailable`` as ``send`` does.
        """

    async def aclose(self) -> None:
        """Closes the connections."""
