"""Dead letters without whatever makes them."""

import redis

from crucible.models import Leg
from tasks.dead_letters import LETTERS_KEPT, DeadLetters, letter_keys
from tasks.scripts import signatures


def bury(client: redis.Redis, leg: Leg, payload: bytes, run_id: str = "", queue: str = "") -> str:
    """Adds a letter, as a worker does; returns its id."""
    signatures.bury_message.on(client)(
        letters=letter_keys(leg),
        letters_kept=LETTERS_KEPT,
        run_id=run_id,
        reason="taken 5 times and never answered",
        taken=5,
        queue=queue,
        message=payload,
    )
    return list(DeadLetters(client, leg).all())[-1].id
