"""What is asked of the API, and what it answers, as documents."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from pydantic import Field, ValidationError

from api.problems import misfit
from crucible.corpus import first_fault
from crucible.ids import new_evaluation_id, new_evaluation_ids
from crucible.models import Classification, Comparison, Evaluation, Leg
from crucible.models.frozen import Frozen
from crucible.store import LedgerRow, Store, Submission
from tasks.events import EventKind

MAX_LIST = 1000
"""How many evaluations one request may hold."""


EXAMPLES = {
    "One program": {"language": "python", "code": "print(6 * 7)"},
    "One that says what is expected of it": {
        "id": "reads-a-line",
        "language": "python",
        "code": "print(input().upper())",
        "stdin": "crucible",
        "limits": {"wall_s": 2, "memory_mb": 64},
        "priority": 7,
        "tags": ["smoke"],
        "expect": {"outcome": "ok", "stdout": "CRUCIBLE\n"},
    },
    "Several at once": [
        {"id": "one", "language": "python", "code": "print(1)"},
        {"id": "two", "language": "python", "code": "raise SystemExit(2)"},
    ],
}
"""Bodies that are taken, by what they are."""


class PostedEvaluation(Evaluation):
    """One program to run on both legs. Without ``id`` it gets Crucible's own."""

    id: Annotated[str, Field(min_length=1, max_length=200)] = Field(default_factory=new_evaluation_id)


OrderBody = PostedEvaluation | Annotated[list[PostedEvaluation], Field(min_length=1, max_length=MAX_LIST)]
"""What a body must look like. It describes; ``parse_order`` reads."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one request asks for. ``is_list`` says that it came, and is to be answered, as a list."""

    submissions: tuple[Submission, ...]
    is_list: bool


def parse_order(body: bytes) -> Order:
    """The evaluations of ``body``, one object or a list of them, under ids of their own.

    Raises a 422 ``Problem`` that names key and problem; none of them is then taken. An evaluation
    without ``id`` is named by the one it gets here.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise misfit("", f"not JSON: {error}") from None
    is_list = isinstance(document, list)
    items = document if is_list else [document]
    if not 1 <= len(items) <= MAX_LIST:
        raise misfit("", f"a list of {len(items)} evaluations; the range is 1 to {MAX_LIST}")
    submissions = tuple(
        Submission(new_id, _evaluation(item, new_id, number if is_list else None), is_traffic=True)
        for number, (new_id, item) in enumerate(zip(new_evaluation_ids(len(items)), items, strict=True), 1)
    )
    return Order(submissions, is_list)


def _evaluation(item: object, new_id: str, number: int | None) -> Evaluation:
    if isinstance(item, dict):
        item = {"id": new_id, **item}
    try:
        # Back to JSON: only from there do lists fit tuples and names fit enums in strict mode.
        raw = orjson.dumps(item)
    except orjson.JSONEncodeError as error:
        raise misfit("", f"cannot be read: {error}", number) from None
    try:
        return Evaluation.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise misfit(*first_fault(raw, error), number) from None


class Links(Frozen):
    """Where to look: at this answer again, and at the flow run in the Prefect UI once there is one."""

    itself: Annotated[str, Field(serialization_alias="self")]
    flow_run: str | None


class EvaluationState(Frozen):
    """One evaluation as it stands. ``id`` is Crucible's, ``name`` the author's.

    ``classification`` and ``comparison`` are null until it is settled. A mismatch with
    ``comparison.reruns`` 0 has not been confirmed yet. ``answered_by`` is the leg whose observation in the
    comparison is the answer: null until there is one. ``flow_run_ids`` starts with the first run's.
    """

    id: str
    name: str
    status: Literal["submitted", "settled"]
    classification: Classification | None
    comparison: Comparison | None
    answered_by: Leg | None
    flow_run_ids: tuple[str, ...]
    links: Links


class Answers:
    """Makes states, with links into the Prefect UI at ``prefect_url``."""

    def __init__(self, prefect_url: str) -> None:
        self._prefect_url = prefect_url

    def submitted(self, evaluation_id: str, name: str, flow_run_id: str | None) -> EvaluationState:
        """An evaluation without a column in the ledger yet, under way in ``flow_run_id`` if there is one."""
        flow_run_ids = () if flow_run_id is None else (flow_run_id,)
        return self._state(evaluation_id, name, None, None, flow_run_ids)

    def settled(self, comparison: Comparison) -> EvaluationState:
        """An evaluation by its comparison."""
        return self._state(
            comparison.evaluation_id,
            comparison.name,
            comparison.classification,
            comparison,
            comparison.flow_run_ids,
        )

    def of_row(self, row: LedgerRow, flow_run_id: str | None) -> EvaluationState:
        """An evaluation by the ledger; one that was settled by being submitted has no comparison."""
        if row.comparison is not None:
            return self.settled(row.comparison)
        if row.classification is None:
            return self.submitted(row.id, row.name, flow_run_id)
        return self._state(row.id, row.name, row.classification, None, ())

    def _state(
        self,
        evaluation_id: str,
        name: str,
        classification: Classification | None,
        comparison: Comparison | None,
        flow_run_ids: tuple[str, ...],
    ) -> EvaluationState:
        flow_run = f"{self._prefect_url}/runs/flow-run/{flow_run_ids[0]}" if flow_run_ids else None
        return EvaluationState(
            id=evaluation_id,
            name=name,
            status="submitted" if classification is None else "settled",
            classification=classification,
            comparison=comparison,
            answered_by=None if comparison is None else comparison.answered_by,
            flow_run_ids=flow_run_ids,
            links=Links(itself=f"/evaluations/{evaluation_id}", flow_run=flow_run),
        )


class Awaited:
    """The comparisons that one request waits for."""

    def __init__(self, futures: dict[str, asyncio.Future[Comparison]]) -> None:
        self._futures = futures

    async def within(self, seconds: float, ids: Collection[str] | None = None) -> dict[str, Comparison]:
        """Those that are there after at most ``seconds``, by id; returns at once when all of ``ids`` are."""
        wanted = self._futures if ids is None else ids
        await asyncio.wait([self._futures[each] for each in wanted], timeout=seconds)
        return {
            evaluation_id: future.result()
            for evaluation_id, future in self._futures.items()
            if future.done() and not future.cancelled()
        }


class Waiters:
    """Brings each comparison to the requests that wait for it, until it ``is_released``."""

    def __init__(self) -> None:
        self._futures: defaultdict[str, list[asyncio.Future[Comparison]]] = defaultdict(list)
        self.is_released = False

    @contextmanager
    def awaiting(self, evaluation_ids: Iterable[str]) -> Iterator[Awaited]:
        """Keep comparisons of ``evaluation_ids`` from now on; to be entered before they are submitted."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[Comparison]] = {
            each: loop.create_future() for each in evaluation_ids
        }
        for evaluation_id, future in futures.items():
            self._futures[evaluation_id].append(future)
        if self.is_released:
            self.release()
        try:
            yield Awaited(futures)
        finally:
            for evaluation_id, future in futures.items():
                self._futures[evaluation_id].remove(future)
                if not self._futures[evaluation_id]:
                    del self._futures[evaluation_id]

    @property
    def is_anybody_there(self) -> bool:
        """Whether any request waits."""
        return bool(self._futures)

    def is_awaited(self, evaluation_id: str) -> bool:
        """Whether a request waits for that comparison still."""
        return any(not future.done() for future in self._futures.get(evaluation_id, ()))

    def answer(self, comparison: Comparison) -> None:
        """Hand over a comparison that will not change any more."""
        for future in self._futures.get(comparison.evaluation_id, ()):
            if not future.done():
                future.set_result(comparison)

    def release(self) -> None:
        """Let nobody wait any longer, from now on: the process is about to end."""
        self.is_released = True
        for futures in self._futures.values():
            for future in futures:
                future.cancel()


_LOOK_EVERY_S = 1.0
_COMPLETED = (EventKind.SETTLED, EventKind.CONFIRMED)


class CompletedElsewhere:
    """Reads from the ledger what an event calls complete, and each second without one: events can be lost."""

    def __init__(self, store: Store, waiters: Waiters) -> None:
        self._store, self._waiters = store, waiters
        self._open: set[str] = set()
        self._tried: set[str] = set()
        self._due = asyncio.Event()

    def put(self, mismatch: Comparison) -> None:
        """Take a mismatch that was settled here and is not confirmed yet."""
        if self._waiters.is_awaited(mismatch.evaluation_id):
            self._open.add(mismatch.evaluation_id)

    def on_event(self, kind: str, data: bytes) -> None:
        """Hear of an event."""
        if kind not in _COMPLETED or not self._waiters.is_anybody_there:
            return
        evaluation_id = str(orjson.loads(data)["id"])
        if self._waiters.is_awaited(evaluation_id):
            self._open.add(evaluation_id)
            if kind == EventKind.CONFIRMED:
                self._tried.add(evaluation_id)
            self._due.set()

    async def round(self) -> None:
        """Wait for an event, a second at most, then look. Raises as ``Store`` does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._due.wait()
        self._due.clear()
        await self.look()

    async def look(self) -> None:
        """Answer with what the ledger has by now."""
        self._open = set(filter(self._waiters.is_awaited, self._open))
        self._tried &= self._open
        if not self._open:
            return
        for row in await self._store.evaluation_states(list(self._open)):
            if row.comparison is not None and self._is_final(row.comparison):
                self._waiters.answer(row.comparison)

    def _is_final(self, comparison: Comparison) -> bool:
        """Whether it will not change any more; one that could not be run again is answered as it stands."""
        is_open = comparison.classification is Classification.MISMATCH and comparison.reruns == 0
        return not is_open or comparison.evaluation_id in self._tried
