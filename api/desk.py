"""Where evaluations are handed in and asked for: the ledger first, then the queue, then the wait."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from api.answers import Answers, EvaluationState
from api.languages import Languages
from api.orders import Order
from api.pace import Pace
from api.problems import Problem, misfit
from api.shedding import Shedding
from api.starter import MOST_WAITING, Starter
from api.waiters import Waiters
from crucible.settings import ShedSettings, load
from crucible.store import Store, Ticket

CancelEvaluations = Callable[[Sequence[str]], Awaitable[None]]
"""See ``flows.cancel.cancel_evaluations``."""


class Desk:
    """What the endpoints of evaluations do. It needs a starter that runs."""

    def __init__(
        self,
        store: Store,
        starter: Starter,
        waiters: Waiters,
        languages: Languages,
        answers: Answers,
        cancel_evaluations: CancelEvaluations,
    ) -> None:
        self._store = store
        self._starter = starter
        self._waiters = waiters
        self._languages = languages
        self._answers = answers
        self._cancel_evaluations = cancel_evaluations
        self._shedding = Shedding(load(ShedSettings).above)
        self._pace = Pace()

    async def submit(self, order: Order, wait_s: float) -> tuple[list[EvaluationState], bool]:
        """Enter an order in the ledger, queue it, and wait for its comparisons at most ``wait_s`` seconds.

        Returns the states, in order, and whether all are settled. Raises a ``Problem`` when the order
        cannot be taken and ``PlatformError`` when a server is away; nothing was submitted then.
        """
        await self._refuse_languages(order)
        with self._waiters.awaiting(each.id for each in order.submissions) as awaited:
            await self._enter(order)
            there = await awaited.within(wait_s) if wait_s else {}
        states = [
            self._answers.settled(there[each.id])
            if each.id in there
            else self._answers.submitted(each.id, each.evaluation.id, self._starter.flow_run_id(each.id))
            for each in order.submissions
        ]
        return states, len(there) == len(states)

    async def state(self, evaluation_id: str) -> EvaluationState | None:
        """Where an evaluation stands by the ledger; null when there is none of that id."""
        row = await self._store.evaluation_state(evaluation_id)
        return None if row is None else self._answers.of_row(row, self._starter.flow_run_id(evaluation_id))

    async def cancel(self, evaluation_id: str) -> EvaluationState | None:
        """Cancel an evaluation unless it is settled, and say how it is settled; null when there is none.

        Raises ``PlatformError`` when a server is away that must know of it.
        """
        state = await self.state(evaluation_id)
        if state is None or state.classification is not None:
            return state
        self._starter.withdraw(evaluation_id)
        await self._cancel_evaluations([evaluation_id])
        return await self.state(evaluation_id)

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

    async def _enter(self, order: Order) -> None:
        number = len(order.submissions)
        self._pace.look(self._starter.waiting)
        if not self._starter.reserve(number):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"no room for {number} more; at most {MOST_WAITING} evaluations wait for their flow run",
                headers={"Retry-After": str(self._pace.retry_after_s)},
            )
        self._pace.look(self._starter.waiting)
        alone = self._shedding.look(self._starter.load, number)
        try:
            await self._store.submit([each._replace(alone=alone) for each in order.submissions])
        except BaseException:
            self._starter.free(number)
            raise
        self._starter.put([Ticket(each.id, each.evaluation.id) for each in order.submissions])
