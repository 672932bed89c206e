"""Dead letters: what a leg has given up delivering, kept with the reason until somebody looks after it.

A leg's letters lie in the Redis of its queue, so that one goes back in one script. Keys: the stream
``crucible:dead:{leg}``, and ``crucible:dead:{leg}:number``, the number of its newest entry.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import redis

from crucible.models import LEGS, Leg
from tasks.scripts import signatures
from tasks.scripts.signatures import LetterKeys

LETTERS_KEPT = 10_000
"""For each leg; the oldest go."""

_PAGE = 50
_ID = re.compile(rf"dl-({'|'.join(LEGS)})-([0-9]{{1,15}})")

Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. ``taken`` is how often a worker got it; ``queue`` the list on which it lay, if known.

    ``run_id`` is null where whoever buried it could not tell. ``payload`` is what lay there, byte for byte.
    """

    leg: Leg
    number: int
    run_id: str | None
    reason: str
    at: datetime
    taken: int
    queue: str
    payload: bytes

    @property
    def id(self) -> str:
        """Short, and the same for good."""
        return f"dl-{self.leg}-{self.number}"


def letter_keys(leg: Leg) -> LetterKeys:
    """Where the letters of ``leg`` are."""
    return LetterKeys(number=f"crucible:dead:{leg}:number", stream=f"crucible:dead:{leg}")


def leg_and_number(letter_id: str) -> tuple[Leg, int] | None:
    """What an id says; null when it is none."""
    found = _ID.fullmatch(letter_id)
    return found and (cast("Leg", found[1]), int(found[2]))


class DeadLetters:
    """The letters of one leg, in the Redis of its queue. Every method raises ``ServiceUnavailable``."""

    def __init__(self, client: redis.Redis, leg: Leg) -> None:
        self._redis, self._leg = client, leg
        self._letters = letter_keys(leg).stream
        self._put_back = signatures.put_back.on(client)

    def all(self) -> Iterator[Letter]:
        """All letters, the oldest first, a few at a time."""
        after = "-"
        while entries := cast("list[Entry]", self._redis.xrange(self._letters, after, count=_PAGE)):
            for entry in entries:
                yield _letter(self._leg, entry)
            after = f"({entries[-1][0].decode()}"

    def newest(self, most: int) -> list[Letter]:
        """The newest letters, at most so many, the newest first."""
        entries = cast("list[Entry]", self._redis.xrevrange(self._letters, count=most))
        return [_letter(self._leg, entry) for entry in entries]

    def find(self, number: int) -> Letter | None:
        """The letter of that number; null when there is none, any more or at all."""
        place = f"{number}-0"
        found = cast("list[Entry]", self._redis.xrange(self._letters, place, place))
        return _letter(self._leg, found[0]) if found else None

    def remove(self, letter: Letter) -> None:
        """Forget a letter that was looked after."""
        self._redis.xdel(self._letters, f"{letter.number}-0")

    def put_back(self, letter: Letter, queue: str) -> bool:
        """Make its payload the last in line on ``queue`` and remove the letter, both or neither.

        False when it was removed before.
        """
        put_back = self._put_back(
            letters=self._letters,
            queue=queue,
            entry_id=f"{letter.number}-0",
            push="RPUSH" if self._leg == "legacy" else "LPUSH",  # Celery takes from the right
        )
        return bool(put_back)


def _letter(leg: Leg, entry: Entry) -> Letter:
    place, fields = entry
    return Letter(
        leg=leg,
        number=int(place.partition(b"-")[0]),
        run_id=fields[b"run_id"].decode() or None,
        reason=fields[b"reason"].decode(errors="replace"),
        at=datetime.fromtimestamp(int(fields[b"at"]) / 1000, UTC),
        taken=int(fields[b"taken"]),
        queue=fields[b"queue"].decode(errors="replace"),
        payload=fields[b"payload"],
    )
