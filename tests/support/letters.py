"""Dead letters without whatever makes them."""

import redis

from crucible.models import Leg
from tasks import scripts
from tasks.dead_letters import LETTERS_KEPT, DeadLetters, letter_keys


def bury(client: redis.Redis, leg: Leg, payload: bytes, run_id: str = "", queue: str = "") -> str:
    """Adds a letter, as a worker does; returns its id."""
    script = client.register_script(scripts.source("bury_message", "queue", "letters"))
    script(letter_keys(leg), (LETTERS_KEPT, run_id, "taken 5 times and never answered", 5, queue, payload))
    return list(DeadLetters(client, leg).all())[-1].id
