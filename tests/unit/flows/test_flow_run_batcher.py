"""How what arrives is put into flow runs. The flow runs are played here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from crucible.store import Ticket
from flows.batching import MOST_IN_BATCH, MOST_IN_FLIGHT, MOST_WAITING, FlowRunBatcher
from tasks.background import BackgroundServices
from tests.support.waiting import eventually


@dataclass
class Run:
    """One flow run: it starts when told, and ends when told."""

    batch: Sequence[Ticket]
    on_started: Callable[[str], None]
    end: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    def start(self) -> None:
        """The flow run has started."""
        self.on_started(f"run of {self.batch[0].id}")


class Bench:
    """A batcher and the flow runs it asked for."""

    def __init__(self, gather_s: float = 0) -> None:
        self.runs: list[Run] = []
        self.batcher = FlowRunBatcher(self._start, gather_s)
        self._number = 0

    async def _start(self, batch: Sequence[Ticket], on_started: Callable[[str], None]) -> None:
        run = Run(batch, on_started)
        self.runs.append(run)
        await run.end.wait()
        if run.fault is not None:
            raise run.fault

    def put(self, number: int) -> list[str]:
        """Queue so many; returns their ids."""
        ids = [f"ev-{self._number + each}" for each in range(number)]
        self._number += number
        assert self.batcher.reserve(number)
        self.batcher.put([Ticket(each, each) for each in ids])
        return ids

    async def has(self, number: int) -> list[Run]:
        """Waits until so many flow runs were asked for, and sees that no more come."""
        await eventually(lambda: len(self.runs) >= number)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(self.runs) == number
        return self.runs


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    """Runs the batcher of ``bench``; ends its flow runs at the end."""
    bench.batcher.open(BackgroundServices())
    yield
    for run in bench.runs:
        run.end.set()
    await bench.batcher.close(within_s=5)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A batcher that runs."""
    made = Bench()
    async with running(made):
        yield made


def ids_of(run: Run) -> list[str]:
    return [ticket.id for ticket in run.batch]


async def test_one_alone_starts_at_once(bench: Bench) -> None:
    ids = bench.put(1)
    (run,) = await bench.has(1)
    assert ids_of(run) == ids


async def test_what_arrives_while_a_flow_run_is_being_started_joins_the_next(bench: Bench) -> None:
    bench.put(1)
    (first,) = await bench.has(1)
    later = bench.put(3) + bench.put(2)
    await bench.has(1)
    first.start()
    _, second = await bench.has(2)
    assert ids_of(second) == later


async def test_a_batch_has_a_limit_and_the_rest_follows(bench: Bench) -> None:
    bench.put(MOST_IN_BATCH + 1)
    (first,) = await bench.has(1)
    first.start()
    assert [len(run.batch) for run in await bench.has(2)] == [MOST_IN_BATCH, 1]


async def test_only_so_many_are_under_way_and_what_arrives_meanwhile_goes_together(bench: Bench) -> None:
    for number in range(MOST_IN_FLIGHT):
        bench.put(1)
        (await bench.has(number + 1))[-1].start()
    waiting = bench.put(1) + bench.put(1)
    await bench.has(MOST_IN_FLIGHT)
    bench.runs[0].end.set()
    assert ids_of((await bench.has(MOST_IN_FLIGHT + 1))[-1]) == waiting


async def test_while_one_is_under_way_the_next_waits_for_company_until_it_is_full() -> None:
    bench = Bench(gather_s=3600)
    async with running(bench):
        bench.put(1)
        (await bench.has(1))[0].start()
        later = bench.put(1)
        await bench.has(1)
        later += bench.put(MOST_IN_BATCH - 1)
        assert ids_of((await bench.has(2))[1]) == later


async def test_what_waits_for_company_starts_when_nothing_is_under_way_any_more() -> None:
    bench = Bench(gather_s=3600)
    async with running(bench):
        bench.put(1)
        (await bench.has(1))[0].start()
        later = bench.put(2)
        await bench.has(1)
        bench.runs[0].end.set()
        assert ids_of((await bench.has(2))[1]) == later


async def test_nobody_waits_for_company_for_ever() -> None:
    bench = Bench(gather_s=0.01)
    async with running(bench):
        for number in (1, 2, 3):
            bench.put(1)
            (await bench.has(number))[-1].start()


async def test_a_flow_run_that_fails_before_it_starts_does_not_stop_the_next(bench: Bench) -> None:
    bench.put(1)
    (first,) = await bench.has(1)
    first.fault = ConnectionError("no Prefect")
    first.end.set()
    bench.put(1)
    await bench.has(2)


async def test_an_evaluation_with_which_every_flow_run_fails_takes_no_other_with_it() -> None:
    poison, done = "ev-5", []

    async def start(batch: Sequence[Ticket], _on_started: Callable[[str], None]) -> None:
        if poison in [each.id for each in batch]:
            raise ValueError("a defect")
        done.extend(each.id for each in batch)

    bench = Bench()
    bench.batcher = FlowRunBatcher(start)
    ids = bench.put(13)
    async with running(bench):
        await eventually(lambda: not any(map(bench.batcher.holds, ids)))
    assert done == [each for each in ids if each != poison]


async def test_the_flow_run_of_an_evaluation_is_known_while_it_is_under_way(bench: Bench) -> None:
    (evaluation_id,) = bench.put(1)
    (run,) = await bench.has(1)
    assert bench.batcher.flow_run_id(evaluation_id) is None
    run.start()
    assert bench.batcher.flow_run_id(evaluation_id) == f"run of {evaluation_id}"
    run.end.set()
    await bench.has(1)
    assert bench.batcher.flow_run_id(evaluation_id) is None


async def test_places_are_bounded_whether_reserved_or_taken() -> None:
    bench = Bench()
    assert bench.batcher.reserve(MOST_WAITING - 1)
    bench.put(1)
    assert not bench.batcher.reserve(1)
    bench.batcher.free(1)
    assert bench.batcher.reserve(1)


async def test_closing_waits_for_flow_runs_and_cancels_those_that_take_too_long() -> None:
    bench = Bench()
    bench.batcher.open(BackgroundServices())
    (evaluation_id,) = bench.put(1)
    (run,) = await bench.has(1)
    run.start()
    closing = asyncio.create_task(bench.batcher.close(within_s=60))
    await asyncio.sleep(0.01)
    assert not closing.done()
    closing.cancel()
    await bench.batcher.close(within_s=0)
    assert bench.batcher.flow_run_id(evaluation_id) is None


async def test_what_is_withdrawn_gets_no_flow_run(bench: Bench) -> None:
    bench.put(1)
    (first,) = await bench.has(1)
    kept, dropped = bench.put(1), bench.put(1)
    bench.batcher.withdraw(dropped[0])
    first.start()
    assert ids_of((await bench.has(2))[1]) == kept


async def test_when_all_that_waited_is_withdrawn_the_next_to_come_starts_as_ever(bench: Bench) -> None:
    bench.put(1)
    (first,) = await bench.has(1)
    (dropped,) = bench.put(1)
    bench.batcher.withdraw(dropped)
    first.start()
    await bench.has(1)
    later = bench.put(1)
    assert ids_of((await bench.has(2))[1]) == later


@pytest.mark.parametrize("steps", range(4))
async def test_it_ends_when_it_is_cancelled_just_as_company_comes(steps: int) -> None:
    bench, background = Bench(gather_s=3600), BackgroundServices()
    bench.batcher.open(background)
    bench.put(1)
    (run,) = await bench.has(1)
    run.start()
    bench.put(1)
    await bench.has(1)
    bench.put(1)
    for _ in range(steps):
        await asyncio.sleep(0)
    ending = asyncio.create_task(background.aclose())
    _, going_on = await asyncio.wait({ending}, timeout=5)
    run.end.set()
    await bench.batcher.close(within_s=5)
    assert not going_on
