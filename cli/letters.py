"""The dead letters of both legs, as the command line gets at them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cli.running import server_url
from crucible.errors import InputError
from crucible.models import LEGS, Leg
from crucible.settings import LegacySettings, Settings, load
from tasks.celery_leg.message import decode as decode_message
from tasks.dead_letters import DeadLetters, Letter, leg_and_number
from tasks.dispatch import Run
from tasks.legacy_leg.queue import decode as decode_payload
from tasks.legacy_leg.queue import queue_keys
from tasks.resilience.breaker import connect_briefly

_USUAL_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter and the run in it; null where nobody can read it."""

    letter: Letter
    run: Run | None

    @property
    def run_id(self) -> str | None:
        """As far as anybody knows."""
        return self.run.run_id if self.run else self.letter.run_id

    @property
    def evaluation_id(self) -> str | None:
        """The evaluation of the run, as Crucible numbers runs; others may count in another way."""
        return self.run_id and self.run_id.rpartition(".")[0]


class LetterBox:
    """The letters of both legs. Methods raise ``ServiceUnavailable`` when a server cannot be used."""

    def __init__(self, boxes: Mapping[Leg, DeadLetters], settings: LegacySettings) -> None:
        self._boxes, self._settings = boxes, settings

    def letters(self, leg: Leg | None = None) -> Iterator[Opened]:
        """All letters of one leg, or of both, the oldest first."""
        for each in LEGS if leg is None else (leg,):
            for letter in self._boxes[each].all():
                yield self._opened(letter)

    def find(self, letter_id: str) -> Opened:
        """The letter of that id; raises ``InputError`` when there is none."""
        place = leg_and_number(letter_id)
        letter = place and self._boxes[place[0]].find(place[1])
        if not letter:
            raise InputError(f"there is no dead letter {letter_id}; see `crucible dlq list`")
        return self._opened(letter)

    def put_back(self, opened: Opened) -> bool:
        """Make its payload the last in line on its queue and remove the letter; False when that was gone."""
        letter = opened.letter
        queue = letter.queue or queue_keys(self._settings)[_USUAL_PRIORITY]
        return self._boxes[letter.leg].put_back(letter, queue)

    def remove(self, opened: Opened) -> None:
        """Forget a letter."""
        self._boxes[opened.letter.leg].remove(opened.letter)

    def _opened(self, letter: Letter) -> Opened:
        try:
            if letter.leg == "legacy":
                return Opened(letter, decode_payload(letter.payload, self._settings))
            return Opened(letter, decode_message(letter.payload))
        except InputError:
            return Opened(letter, None)


@contextmanager
def letter_box(settings: Settings) -> Iterator[LetterBox]:
    """The letters of the servers that are set, else of the stack that is up.

    Raises ``ServiceUnavailable`` when there is no stack, and when a server does not answer.
    """
    urls: dict[Leg, str] = {
        "legacy": server_url(settings, "redis_url"),
        "celery": server_url(settings, "celery_redis_url"),
    }
    clients = {leg: connect_briefly(url) for leg, url in urls.items()}
    try:
        yield LetterBox(
            {leg: DeadLetters(client, leg) for leg, client in clients.items()}, load(LegacySettings)
        )
    finally:
        for client in clients.values():
            client.close()
