"""The drill told top to bottom: there on evidence, then a fault at each stage and the way back by itself."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from rich.table import Table

from bench.drill.faults import Door, Fault, Traffic, own_executor, traffic_to
from crucible.errors import GateRefused, PlatformError
from crucible.rollout.stage import Stage
from crucible.settings import Settings, load
from crucible.store import Store
from deployments.stack import Home, StackState, running_stack


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it began, when the migration turned back and why, and how many answers it spoiled."""

    stage: Stage
    fault: Fault
    began_at: datetime
    turned_back_at: datetime
    reason: str
    spoiled: int

    @property
    def seconds(self) -> float:
        """Seconds from the fault to the way back."""
        return (self.turned_back_at - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Findings:
    """``wrong_before`` counts wrong answers given before a detector fired, ``wrong_after`` those after it.

    ``lost`` evaluations got no answer at all; ``faults_in_books`` is what verifying the log found.
    """

    strikes: tuple[Strike, ...]
    answered: int
    by_celery: int
    wrong_before: int
    wrong_after: int
    lost: tuple[str, ...]
    faults_in_books: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, nothing was wrong once a detector had fired, and the books hold."""
        return not (self.wrong_after or self.lost or self.faults_in_books)

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            **asdict(self),
            "strikes": [{**asdict(each), "seconds": each.seconds} for each in self.strikes],
            "ok": self.ok,
        }

    def table(self) -> Table:
        """The faults, a row each."""
        table = Table("stage", "fault", "rolled back after", "spoiled", "by", title="Migration drill")
        for each in self.strikes:
            by = each.reason.partition(", at evaluation")[0]
            table.add_row(each.stage, each.fault, f"{each.seconds:.2f} s", str(each.spoiled), by)
        return table

    def summary(self) -> str:
        """The rest, in a sentence."""
        books = "; ".join(self.faults_in_books) or "all of it follows from the raw pairs"
        return (
            f"{self.answered:,} evaluations answered, {self.by_celery:,} by Celery;"
            f" {len(self.lost):,} lost{': ' if self.lost else ''}{', '.join(self.lost)}.\n"
            f"Wrong answers: {self.wrong_before:,} before a detector fired, {self.wrong_after:,} after.\n"
            f"The log: {books}."
        )


Say = Callable[[str], None]

ACTOR = "drill"
POLICY = {
    "P0": "0.05",
    "MIN_PAIRS_PER_STEP": "20",
    "CANARY_STEPS": "20,100",
    "SAMPLE": "40",
    "NOISE_SHARE": "0.2",
    "MIN_NOISE_RERUNS": "10",
    "MUTANT_SHARE": "0.2",
    "MIN_MUTANTS": "10",
    "FLOOR_S": "5",
    "SENTINEL_EVERY_S": "0.3",
}
"""What the gates ask in a drill: enough to mean something, little enough to be over in minutes.

Waiting may differ by seconds, since legacy has two executors here, Celery one, and all of them one machine.
"""

_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.1
_AFTERWARDS = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults are put in at which stages; each way ahead but the first is forced where ``is_short``."""

    strikes: tuple[tuple[Stage, Fault], ...]
    is_short: bool


SHORT = Plan(
    (
        (Stage.CELERY, Fault.AWAY),
        (Stage.SHADOW, Fault.WRONG_OUTPUT),
        (Stage.CANARY, Fault.WRONG_EXIT_CODE),
        (Stage.LIVE, Fault.CUT_SHORT),
    ),
    is_short=True,
)
FULL = Plan(
    (
        (Stage.CELERY, Fault.AWAY),
        (Stage.CELERY, Fault.WRONG_OUTPUT),
        (Stage.LIVE, Fault.CUT_SHORT),
        (Stage.LIVE, Fault.WRONG_EXIT_CODE),
        (Stage.CANARY, Fault.WRONG_EXIT_CODE),
        (Stage.CANARY, Fault.AWAY),
        (Stage.SHADOW, Fault.WRONG_OUTPUT),
        (Stage.SHADOW, Fault.AWAY),
    ),
    is_short=False,
)


async def run(plan: Plan, folder: Path, say: Say) -> Findings:
    """Practise on a stack of its own in ``folder``; minutes.

    Raises ``PlatformError`` when a part cannot be started or a stage is not reached in time.
    """
    async with _stack(folder, say) as (state, door), traffic_to(state) as traffic:
        store = await Store.open(state.database_url)
        try:
            drill = _Drill(store, door, traffic, say)
            async with traffic.flowing():
                strikes = [await drill.strike(stage, fault, plan) for stage, fault in plan.strikes]
            return await _findings(store, traffic, strikes)
        finally:
            await store.close()


class _Drill:
    def __init__(self, store: Store, door: Door, traffic: Traffic, say: Say) -> None:
        self._store = store
        self._door = door
        self._traffic = traffic
        self._say = say
        self._has_climbed = False

    async def strike(self, stage: Stage, fault: Fault, plan: Plan) -> Strike:
        """Go to ``stage``, put ``fault`` into executor-3, and see the migration turn back by itself."""
        await self._store.rollout.set(ACTOR, "the next fault", new_epoch=True)
        started = time.monotonic()
        if self._has_climbed and plan.is_short:
            await self._store.rollout.set(ACTOR, "the drill is short", force=True, stage=stage, share=100)
        else:
            await self._climb(stage)
            self._has_climbed = True
        await self._answered(_AFTERWARDS)
        self._say(f"at {stage} after {time.monotonic() - started:.1f} s; now: {fault}")
        found = await self._struck(stage, fault)
        self._say(f"back at legacy after {found.seconds:.2f} s")
        await self._answered(_AFTERWARDS)
        return found

    async def _climb(self, to: Stage) -> None:
        async with _in_time(f"reach {to}"):
            while (await self._store.rollout.state()).stage is not to:
                try:
                    change = await self._store.rollout.advance(ACTOR, "the gates said GO")
                except GateRefused:
                    await asyncio.sleep(_LOOK_EVERY_S)
                else:
                    self._say(f"advanced to {change.after.stage}, {change.after.share:g} %")

    async def _struck(self, stage: Stage, fault: Fault) -> Strike:
        before = self._door.spoiled
        at = datetime.now(UTC)
        self._door.fault = fault
        try:
            async with _in_time(f"turn back from {stage} on {fault}"):
                await _until(self._is_back)
        finally:
            self._door.fault = Fault.NONE
        (entry,) = await self._store.rollout.history(1)
        return Strike(stage, fault, at, entry.at, entry.reason, self._door.spoiled - before)

    async def _answered(self, number: int) -> None:
        """Wait until traffic has got so many more answers."""
        goal = len(self._traffic.answered) + number
        async with _in_time("answer the traffic"):

            async def enough() -> bool:
                return len(self._traffic.answered) >= goal

            await _until(enough)

    async def _is_back(self) -> bool:
        return (await self._store.rollout.state()).stage is Stage.LEGACY


async def _findings(store: Store, traffic: Traffic, strikes: list[Strike]) -> Findings:
    wrong = [each.id for each in traffic.answered if not each.is_right]
    settled = [await _settled_at(store, each) for each in wrong]
    late = [
        evaluation_id
        for evaluation_id, at in zip(wrong, settled, strict=True)
        if not any(each.began_at <= at <= each.turned_back_at for each in strikes)
    ]
    verification = await store.rollout.verify()
    return Findings(
        strikes=tuple(strikes),
        answered=len(traffic.answered),
        by_celery=sum(each.answered_by == "celery" for each in traffic.answered),
        wrong_before=len(wrong) - len(late),
        wrong_after=len(late),
        lost=tuple(traffic.lost),
        faults_in_books=verification.faults,
    )


async def _settled_at(store: Store, evaluation_id: str) -> datetime:
    row = await store.evaluation_state(evaluation_id)
    if row is None or row.settled_at is None:
        raise PlatformError(
            f"evaluation {evaluation_id} was answered and is not settled; a defect in Crucible"
        )
    return row.settled_at


@asynccontextmanager
async def _stack(folder: Path, say: Say) -> AsyncIterator[tuple[StackState, Door]]:
    """A stack whose executor-3 stands behind a door."""
    token = token_urlsafe(24)
    # The services of the stack are told by the environment, as if the shell had set it.
    os.environ.update({f"CRUCIBLE_GATE_{name}": value for name, value in POLICY.items()})
    os.environ.update({"CRUCIBLE_WORKER_RETRY_S": "1", "CRUCIBLE_FLOW_MAX_FAULTS": "2"})
    say("starting a stack")
    async with AsyncExitStack() as exits:
        home = Home.at(folder / "executor-3")
        home.create()
        url = await exits.enter_async_context(own_executor("executor-3", token, home))
        door = Door(url)
        await exits.enter_async_context(door.open())
        os.environ.update({"CRUCIBLE_EXECUTOR_3_URL": door.url, "CRUCIBLE_EXECUTOR_TOKEN": token})
        os.environ["CRUCIBLE_HOME"] = str(folder / "home")
        yield await exits.enter_async_context(running_stack(load(Settings))), door


@asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_WITHIN_S):
            yield
    except TimeoutError:
        raise PlatformError(
            f"the drill could not {what} within {_WITHIN_S:g} s; see the stack's logs"
        ) from None


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await is_so():
            return
        await asyncio.sleep(_LOOK_EVERY_S)
