"""Who may run: as many programs at once as there are slots, the others in the order they came."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turn:
    """One run from its request to its end.

    ``cancelled`` is true once nobody wants its result. ``end`` is called then, if it is set: it is how the
    program under way is ended.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.end: Callable[[], None] | None = None
        self.admitted: asyncio.Future[bool] | None = None


class Admission:
    """The slots of a sandbox and the queue before them. Runs are known by ids, unique among those present."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Turn] = deque()
        self._turns: dict[str, Turn] = {}
        self._left = asyncio.Event()

    @property
    def present(self) -> list[str]:
        """The ids of all runs, waiting and under way."""
        return list(self._turns)

    async def emptied(self) -> None:
        """Wait until no run is present."""
        while self._turns:
            self._left.clear()
            await self._left.wait()

    @asynccontextmanager
    async def turn(self, run_id: str) -> AsyncIterator[Turn]:
        """Hold a slot for the run; waits for one. A turn that was cancelled by then has none and needs none.

        Raises ``ValueError`` for an id that is present already: the caller's mistake.
        """
        if run_id in self._turns:
            raise ValueError(f"a run {run_id!r} is under way already")
        turn = self._turns[run_id] = Turn()
        try:
            if not await self._admit(turn):
                yield turn
                return
            try:
                yield turn
            finally:
                self._pass_on()
        finally:
            del self._turns[run_id]
            self._left.set()

    def cancel(self, run_id: str) -> bool:
        """End a run, or its waiting, at once; false if there is none by that id."""
        turn = self._turns.get(run_id)
        if turn is None:
            return False
        turn.cancelled = True
        if turn in self._waiting:
            self._waiting.remove(turn)
            _wake(turn, admitted=False)
        elif turn.end is not None:
            turn.end()
        return True

    async def _admit(self, turn: Turn) -> bool:
        """Whether the turn holds a slot now, even if cancelled since; false if it was cancelled before."""
        if self._free:
            self._free -= 1
            return True
        turn.admitted = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn.admitted
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.admitted.cancelled() and turn.admitted.result():
                self._pass_on()  # the slot came with the same breath
            raise

    def _pass_on(self) -> None:
        """Give the slot to who has waited longest."""
        while self._waiting:
            if _wake(self._waiting.popleft(), admitted=True):
                return
        self._free += 1


def _wake(turn: Turn, *, admitted: bool) -> bool:
    """Whether it still waits, and now no more; one that has given up a moment ago does not."""
    if turn.admitted is None or turn.admitted.done():
        return False
    turn.admitted.set_result(admitted)
    return True
