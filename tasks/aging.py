"""Aging: what waits long on a leg rises, so that a flood of what is more urgent starves nothing."""

from collections.abc import Sequence

import redis

from tasks.scripts import signatures
from tasks.scripts.signatures import ListEnd

_LOOKS_IN_A_PERIOD = 10
_LONGEST_PAUSE_S = 1.0
_NOT_YET = -1


class Aging:
    """The queues of one leg, most urgent first, in which what has waited for ``period_s`` rises by one.

    At a tick, of the first ``rising`` of each queue those that were among the first at the tick before go to
    the end of the next one, in their order. They stay there until they are taken or have waited for another
    period, and no others follow as long: so what rose never is more of a queue than ``rising``. Nothing is
    lost or doubled by that, whoever takes, sends or withdraws meanwhile.
    """

    def __init__(
        self, client: redis.Redis, queues: Sequence[str], head: ListEnd, rising: int, period_s: float
    ) -> None:
        self._queues, self._head, self._rising, self._period_s = queues, head, rising, period_s
        self._age = signatures.age.on(client)
        self.look_every_s = min(period_s / _LOOKS_IN_A_PERIOD, _LONGEST_PAUSE_S)

    def tick(self) -> int | None:
        """Lets rise what has waited; returns how many, or null where the last tick is less than a period ago.

        Whoever ticks the same queues shares the ticks. Raises ``ServiceUnavailable``.
        """
        memory = f"crucible:aging:{self._queues[0]}"
        risen = self._age(
            lock=f"{memory}:lock",
            memory=memory,
            queues=self._queues,
            period_ms=int(self._period_s * 1000),
            rising=self._rising,
            head=self._head,
        )
        return None if risen == _NOT_YET else risen
