"""How much slower the store becomes when it holds a hundred times as much: Postgres, both sizes by turns."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bench import postgres
from bench.figures import Ratio, describe_machine
from bench.measure import settled
from bench.store_fill import BIG_SWEEP, FROM, OPEN, Filling
from bench.tables import Grid, Report, ratio_grid
from crucible.errors import StackError
from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Evaluation
from crucible.settings import Settings
from crucible.store import Store, Submission
from crucible.store.database import Database, migrate, parse, upgrade
from crucible.store.listing import EvaluationFilter
from crucible.store.retention import StoreInfo

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


Say = Callable[[str], None]

_SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "512MB"}
_MOST = 1.5
_SEED = 5
_STEPS = 20


@dataclass(frozen=True, slots=True)
class Extent:
    """How many evaluations the two stores hold, and how often each question is put to each."""

    small: int
    large: int
    rounds: int


FULL = Extent(small=50_000, large=5_000_000, rounds=60)
QUICK = Extent(small=10_000, large=200_000, rounds=15)


@dataclass(frozen=True, slots=True)
class Scale:
    """Seconds by question, at the small size and at the large; what a large store takes up, and lets go.

    ``closed`` and ``let_go`` are pairs and evaluations a second.
    """

    extent: Extent
    seconds: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    info: StoreInfo
    filled_s: float
    migrated_s: float
    closed: float
    let_go: float


async def report(_settings: Settings, *, quick: bool, say: Say) -> Report:
    """Fill both stores on a server of its own, ask both by turns; raises ``StackError`` without Postgres."""
    extent = QUICK if quick else FULL
    if reason := postgres.missing():
        raise StackError(f"{reason}; install PostgreSQL, as tests/install-parts does")
    facts = describe_machine()
    with postgres.running(**_SERVER) as server:
        small, _, _ = await made(server, extent.small, say)
        large, filled_s, migrated_s = await made(server, extent.large, say)
        try:
            seconds = await _asked(extent, small, large, say)
            info = await large.store.measured()
            say("letting go what is older than two months")
            closed, let_go = await _let_go(large.store)
            found = Scale(extent, seconds, info, filled_s, migrated_s, closed, let_go)
        finally:
            await small.store.close()
            await large.store.close()
    figures = {
        "seconds": seconds,
        "store": info.model_dump(mode="json"),
        "paces": {"closed": closed, "let_go": let_go},
        "ratios": [asdict(each) for each in ratios(found)],
    }
    return Report(facts, grids(found), figures)


async def made(server: str, number: int, say: Say) -> tuple[Asked, float, float]:
    """A filled store in a new database, and the seconds that filling and migrating took; to be closed."""
    say(f"filling a store with {number:,} evaluations")
    name, filling = f"of_{number}", Filling(number)
    await _statement(f"{server}postgres", f"CREATE DATABASE {name}")
    database = Database(parse(f"{server}{name}"))
    began = time.monotonic()
    await upgrade(database, FROM)
    await filling.fill(database)
    filled = time.monotonic()
    say(f"bringing {number:,} evaluations to the newest revision")
    await migrate(database)
    migrated = time.monotonic()
    await database.close()
    await _statement(f"{server}{name}", "VACUUM ANALYZE")
    store = await Store.open(f"{server}{name}", "host-of-the-bench")
    asked = Asked(store, filling, Random(_SEED))  # noqa: S311 (which rows are read is no secret)
    return asked, filled - began, migrated - filled


async def _statement(url: str, statement: str) -> None:
    engine = create_async_engine(parse(url), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def _asked(
    extent: Extent, small: Asked, large: Asked, say: Say
) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    questions = tuple(zip(small.questions().items(), large.questions().items(), strict=True))
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for (name, _), _ in questions}
    for number in range(-2, extent.rounds):
        say(f"asking both, round {max(number, 0) + 1} of {extent.rounds}")
        for (name, of_small), (_, of_large) in questions:
            turns = [(0, of_small), (1, of_large)]
            for place, question in turns if number % 2 else reversed(turns):
                took = await _timed(question)
                if number >= 0:  # the first rounds warm up
                    found[name][place].append(took)
    return {name: (few, many) for name, (few, many) in found.items()}


async def _let_go(store: Store) -> tuple[float, float]:
    """Pairs closed and evaluations let go in a second, for as long as one closing and some steps take."""
    before = datetime.now(UTC) - timedelta(days=60)
    began = time.perf_counter()
    closed = await store.retention.close(before)
    ended = time.perf_counter()
    number, after_id = 0, ""
    for _ in range(_STEPS):
        step = await store.retention.let_go(before, after_id)
        number, after_id = number + step.number, step.after_id or after_id
    return closed / (ended - began), number / (time.perf_counter() - ended)


async def _timed(question: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await question()
    return time.perf_counter() - began


def ratios(scale: Scale) -> list[Ratio]:
    """Each question's median at the large size by that at the small."""
    return [
        Ratio(name, median(many) / median(few), "at most", _MOST)
        for name, (few, many) in scale.seconds.items()
    ]


def grids(scale: Scale) -> list[Grid]:
    """All tables, the weightiest first."""
    sizes = f"{scale.extent.large:,} / {scale.extent.small:,} evaluations"
    times = tuple(
        (name, *(f"{1000 * each:,.2f}" for found in both for each in (median(found), max(found))))
        for name, both in scale.seconds.items()
    )
    found = ratio_grid(ratios(scale))
    return [
        Grid(f"Medians of times, {sizes}", found.columns, found.rows),
        Grid(
            f"Times, ms, {sizes.replace(' /', ' and')}, asked {scale.extent.rounds} times by turns",
            ("", "few, p50", "few, longest", "many, p50", "many, longest"),
            times,
        ),
        _sizes(scale),
        Grid(
            "Letting go of the large store",
            ("", "a second"),
            (
                ("pairs verified and closed", f"{scale.closed:,.0f}"),
                ("evaluations let go, with all that belongs to them", f"{scale.let_go:,.0f}"),
            ),
        ),
    ]


def _sizes(scale: Scale) -> Grid:
    number = scale.extent.large
    rows = [
        (each.name, f"{each.rows:,}", f"{each.bytes / number:,.1f}", f"{each.index_bytes / number:,.1f}")
        for each in scale.info.tables
        if each.rows > number / 100  # of others there are few, however large a store is
    ]
    whole = ("whole database", "", f"{scale.info.bytes / number:,.1f}", "")
    title = (
        f"Bytes per evaluation, {number:,} of them"
        f" (filled in {scale.filled_s:,.0f} s, migrated from {FROM} in {scale.migrated_s:,.0f} s)"
    )
    return Grid(title, ("", "rows", "tables", "indexes"), (*rows, whole))
