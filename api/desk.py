"""Where evaluations are handed in and asked for: the ledger first, then the queue, then the wait."""

import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from api.entrance import Entrance
from api.load import Pace, Shedding
from api.orders import Answers, EvaluationState, Order, Waiters
from api.problems import Problem, misfit
from api.readiness import Languages
from crucible.settings import ShedSettings, load
from crucible.store import Repeatable, Store, Submission, Ticket
from crucible.telemetry.spans import here
from flows.batching import MOST_WAITING, FlowRunBatcher
from tasks.background import BackgroundServices

_LOOK_EVERY_S = 1.0

CancelEvaluations = Callable[[Sequence[str]], Awaitable[None]]
"""See ``flows.host.cancel_evaluations``."""


class Answer(NamedTuple):
    """What became of an order: where each evaluation stands, in its order, and whether all are settled.

    ``is_repeated`` says that an earlier request has submitted them.
    """

    states: Sequence[EvaluationState]
    is_settled: bool
    is_repeated: bool = False


class Desk:
    """What the endpoints of evaluations do. It needs to be opened, and a batcher that is open."""

    def __init__(
        self,
        store: Store,
        batcher: FlowRunBatcher,
        waiters: Waiters,
        languages: Languages,
        answers: Answers,
        cancel_evaluations: CancelEvaluations,
    ) -> None:
        self._store = store
        self._entrance = Entrance(store.submit)
        self._batcher = batcher
        self._waiters = waiters
        self._languages = languages
        self._answers = answers
        self._cancel_evaluations = cancel_evaluations
        self._shedding = Shedding(load(ShedSettings).above)
        self._pace = Pace()

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` enter what is submitted from now on."""
        self._entrance.open(background)

    async def submit(self, order: Order, wait_s: float, again: Repeatable | None = None) -> Answer:
        """Enter an order in the ledger, queue it, and wait for its comparisons at most ``wait_s`` seconds.

        With ``again``, a request that was made before submits nothing: what it submitted then is the answer.
        Raises a ``Problem`` when the order cannot be taken and ``PlatformError`` when a server is away;
        nothing was submitted then.
        """
        earlier = None if again is None else await self._store.requests.find(again)
        if earlier is not None:
            return await self._repeat(earlier, wait_s)
        await self._refuse_languages(order)
        with self._waiters.awaiting(each.id for each in order.submissions) as awaited:
            earlier = await self._enter(order, again)
            there = await awaited.within(wait_s) if wait_s and earlier is None else {}
        if earlier is not None:
            return await self._repeat(earlier, wait_s)
        states = [
            self._answers.settled(there[each.id])
            if each.id in there
            else self._answers.submitted(each.id, each.evaluation.id, self._batcher.flow_run_id(each.id))
            for each in order.submissions
        ]
        return Answer(states, is_settled=len(there) == len(states))

    async def languages(self) -> frozenset[str]:
        """Those that all executors run; raises ``ExecutorUnavailable`` while that is not known."""
        return await self._languages.with_all_of(())

    async def state(self, evaluation_id: str) -> EvaluationState | None:
        """Where an evaluation stands by the ledger; null when there is none of that id."""
        row = await self._store.evaluation_state(evaluation_id)
        return None if row is None else self._answers.of_row(row, self._batcher.flow_run_id(evaluation_id))

    async def cancel(self, evaluation_id: str) -> EvaluationState | None:
        """Cancel an evaluation unless it is settled, and say how it is settled; null when there is none.

        Raises ``PlatformError`` when a server is away that must know of it.
        """
        state = await self.state(evaluation_id)
        if state is None or state.classification is not None:
            return state
        self._batcher.withdraw(evaluation_id)
        await self._cancel_evaluations([evaluation_id])
        return await self.state(evaluation_id)

    async def _repeat(self, ids: Sequence[str], wait_s: float) -> Answer:
        """What an earlier request submitted, as it stands."""
        deadline = time.monotonic() + wait_s
        with self._waiters.awaiting(ids) as awaited:
            while True:
                states = await self._states(ids)
                unsettled = [each.id for each in states if each.classification is None]
                left_s = deadline - time.monotonic()
                if not unsettled or left_s <= 0 or self._waiters.is_released:
                    break
                # Another process may have taken them: what it compares is read here, not heard.
                await awaited.within(min(left_s, _LOOK_EVERY_S), unsettled)
        return Answer(states, all(each.classification is not None for each in states), is_repeated=True)

    async def _states(self, ids: Sequence[str]) -> list[EvaluationState]:
        rows = await self._store.evaluation_states(ids)
        return [self._answers.of_row(each, self._batcher.flow_run_id(each.id)) for each in rows]

    async def _refuse_languages(self, order: Order) -> None:
        wanted = {each.evaluation.language for each in order.submissions}
        known = await self._languages.with_all_of(wanted)
        if wanted <= known:
            return
        number, language = next(
            (number, each.evaluation.language)
            for number, each in enumerate(order.submissions, 1)
            if each.evaluation.language not in known
        )
        problem = f"no executor runs {language!r} here; they run {', '.join(sorted(known))}"
        raise misfit("language", problem, number if order.is_list else None)

    async def _enter(self, order: Order, again: Repeatable | None) -> Sequence[str] | None:
        """Submit an order and queue it, unless the same request has come in between: its ids then."""
        number = len(order.submissions)
        self._pace.look(self._batcher.waiting)
        if not self._batcher.reserve(number):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"no room for {number} more; at most {MOST_WAITING} evaluations wait for their flow run",
                headers={"Retry-After": str(self._pace.retry_after_s)},
            )
        self._pace.look(self._batcher.waiting)
        alone = self._shedding.look(self._batcher.load, number)
        try:
            earlier = await self._submit([each._replace(alone=alone) for each in order.submissions], again)
        except BaseException:
            self._batcher.free(number)
            raise
        if earlier is not None:
            self._batcher.free(number)
            return earlier
        self._batcher.put([Ticket(each.id, each.evaluation.id) for each in order.submissions])
        return None

    async def _submit(
        self, submissions: Sequence[Submission], again: Repeatable | None
    ) -> Sequence[str] | None:
        # A request that may be repeated, or is made within a trace, is one with its transaction.
        if again is not None or here() is not None:
            return await self._store.submit(submissions, again)
        await self._entrance.enter(submissions)
        return None
