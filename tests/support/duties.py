"""Duties as one of several controllers has them, without the processes around."""

from crucible.store import Store
from flows.duties.leases import Checkpoint

_LONG_S = 600.0


async def checkpoint_of(store: Store, duty: str, owner: str = "one", before: str = "nobody") -> Checkpoint:
    """The checkpoint of a duty whose lease ``owner`` takes, from ``before`` if that one has it."""
    await store.duties.give_up(before)
    assert await store.duties.take([duty], owner, _LONG_S) == {duty}
    return Checkpoint(store.duties, duty, owner)
