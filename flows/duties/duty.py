"""A duty, as whoever hosts it sees it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that one of all controllers does.

    ``round`` does what there is to do now. The next round follows ``every_s`` seconds after its end, or
    earlier, when ``wait`` returns. ``bound_s`` is how long a round may take, where it takes long.
    """

    name: str
    every_s: float
    round: Callable[[], Awaitable[object]]
    bound_s: float | None = None
    wait: Callable[[], Awaitable[object]] | None = None
