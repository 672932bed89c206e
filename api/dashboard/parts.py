"""What the pages use."""

from dataclasses import dataclass

from api.dashboard.board import Board
from api.dashboard.rendering import Elsewhere
from api.dashboard.session import Sessions
from api.desk import Desk
from api.feed import Feed
from api.guard import Guard
from api.routes.sweeps import CancelSweep
from crucible.store import Store
from tasks.dead_letters import DeadLetters


@dataclass(frozen=True, slots=True)
class DashboardParts:
    """The same parts as those of the API beside it, and where the pages of others are."""

    guard: Guard
    sessions: Sessions
    store: Store
    board: Board
    desk: Desk
    feed: Feed
    letters: tuple[DeadLetters, ...]
    cancel_sweep: CancelSweep
    elsewhere: Elsewhere
