"""What is asked of a store while it is in use, each as the API and the pages ask it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from bench.measure import settled
from bench.store_fill import BIG_SWEEP, OPEN, Filling
from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Evaluation
from crucible.store import Store, Submission
from crucible.store.listing import EvaluationFilter

Question = Callable[[], Awaitable[object]]

_BATCH = 20
_NAME = "of-the-bench"
_LISTS: dict[str, dict[str, Any]] = {
    "list: newest": {},
    "list: settled": {"status": "settled"},
    "list: open": {"status": "submitted"},
    "list: mismatches": {"classification": Classification.MISMATCH},
    "list: unpaired": {"classification": Classification.UNPAIRED},
    "list: unexpected": {"unexpected": True},
    "list: of a rare language": {"language": "ruby"},
    "list: of a name": {"name": "name-77"},
    "list: of a cause": {"cause": "c0ffee0000000011"},
    "list: of a tag": {"tag": "nightly"},
    "list: of a rare tag": {"tag": "rare"},
    "list: of a large sweep": {"sweep_id": BIG_SWEEP},
    "list: mismatches of a large sweep": {"sweep_id": BIG_SWEEP, "classification": Classification.MISMATCH},
    "list: unexpected of a large sweep": {"sweep_id": BIG_SWEEP, "unexpected": True},
    "list: mismatches of a language": {"language": "python", "classification": Classification.MISMATCH},
}


class Asked:
    """A filled store, and questions to it; lists ask for ``page`` rows."""

    def __init__(self, store: Store, filling: Filling, chance: Random) -> None:
        self.store = store
        self.page = 51
        self._filling, self._chance = filling, chance
        self._entered: list[str] = []

    def questions(self) -> dict[str, Question]:
        """All of them by name, in the order in which they are put."""
        books, listing, ownership = self.store.rollout, self.store.listing, self.store.ownership
        old = datetime.now(UTC) - timedelta(days=1)
        return {
            "submit 20": self._submit,
            "settle 20": self._settle,
            "read one": lambda: self.store.evaluation_state(self._any()),
            "read one with its runs": lambda: self.store.runs(self._any()),
            "load 20": lambda: self.store.load([self._any() for _ in range(_BATCH)]),
            **{name: self._list(**wanted) for name, wanted in _LISTS.items()},
            "list: of a day": self._list_of_a_day,
            "list: page 1000": lambda: listing.evaluations(EvaluationFilter(), self._any(), self.page),
            "list: sweeps": lambda: listing.sweeps(None, self.page),
            "ledger of a large sweep": lambda: self.store.counts(BIG_SWEEP),
            "rollout: status": books.status,
            "rollout: mismatches": lambda: books.mismatches(0, "", self.page),
            "rollout: unconfirmed": lambda: books.unconfirmed(100),
            "rollout: reference": books.random_reference,
            "rollout: log": lambda: books.history(100),
            "dashboard: durations": lambda: listing.durations(1000),
            "janitor: owners": ownership.owners,
            "janitor: in hand": lambda: ownership.in_hand("host-of-old", old, 200),
            "sweep: unsettled": lambda: self.store.unsettled(BIG_SWEEP, 100),
            "sweep: mismatches": lambda: self.store.page(
                BIG_SWEEP, [Classification.MISMATCH], None, self.page
            ),
            "recorded traffic": self._recorded,
        }

    def _any(self) -> str:
        return self._filling.id_of(self._chance.randrange(self._filling.number - OPEN))

    def _list(self, **wanted: Any) -> Question:
        return lambda: self.store.listing.evaluations(EvaluationFilter(**wanted), None, self.page)

    async def _list_of_a_day(self) -> object:
        until = datetime.now(UTC) - timedelta(days=self._chance.randrange(1, 80))
        wanted = EvaluationFilter(since=until - timedelta(days=1), until=until)
        return await self.store.listing.evaluations(wanted, None, self.page)

    async def _recorded(self) -> object:
        return [each async for each in self.store.recorded(1)]

    async def _submit(self) -> None:
        self._entered = new_evaluation_ids(_BATCH)
        await self.store.submit([_submission(each) for each in self._entered])

    async def _settle(self) -> None:
        match, waited_s = Classification.MATCH, {"legacy": 0.01, "celery": 0.01}
        await self.store.settle(
            [settled(each, _NAME, "python", match, waited_s=waited_s) for each in self._entered]
        )


def _submission(evaluation_id: str) -> Submission:
    program = Evaluation(id=_NAME, language="python", code="print(1)\n" * 30, tags=("nightly",))
    return Submission(evaluation_id, program, is_traffic=True)
