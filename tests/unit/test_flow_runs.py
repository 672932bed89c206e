"""How the body of a flow ends when somebody wants it to. No Prefect server is asked for that."""

import asyncio
from collections.abc import Awaitable

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun

from crucible.errors import Cancelled, StoreError
from flows.flow_runs import FlowRuns, unless_cancelled

ID = "0b0f3f52-90f1-4c1c-a8c9-0c3d3c2f7b7c"


class Body:
    """The body of a flow that ends only when it is cancelled, or told to."""

    def __init__(self) -> None:
        self.runs = FlowRuns()
        self.settled = 0
        self.go = asyncio.Event()
        self.began = asyncio.Event()

    async def settle(self) -> None:
        await asyncio.sleep(0)
        self.settled += 1

    async def work(self) -> str:
        self.began.set()
        await self.go.wait()
        return "done"

    def start(self, deadline_s: float | None = None) -> asyncio.Task[str | State[object]]:
        return asyncio.create_task(self.runs.run(ID, self.work(), self.settle, deadline_s))


async def as_cancelled(running: Awaitable[object]) -> State[object]:
    """The state with which it ended, which is Cancelled."""
    async with asyncio.timeout(30):
        state = await running
    assert isinstance(state, State)
    assert state.is_cancelled()
    return state


async def test_what_is_not_cancelled_returns_what_it_has() -> None:
    body = Body()
    running = body.start()
    body.go.set()
    assert await running == "done"
    assert body.settled == 0


async def test_one_of_many_is_cancelled_by_its_id() -> None:
    body, other = Body(), Body()
    running, unharmed = body.start(), other.start()
    await body.began.wait()
    body.runs.cancel(["some other", ID])
    await as_cancelled(running)
    assert body.settled == 1
    assert not unharmed.done()
    other.go.set()
    assert await unharmed == "done"


async def test_cancelled_with_its_task_it_settles_and_can_tell_prefect() -> None:
    body = Body()
    still_able: list[bool] = []

    async def engine() -> object:
        state = await body.runs.run(ID, body.work(), body.settle)
        async with asyncio.timeout(30):  # which a cancellation that lingers would end
            await asyncio.sleep(0)
        still_able.append(True)
        return state

    running = asyncio.create_task(engine())
    await body.began.wait()
    running.cancel()
    await as_cancelled(running)
    assert (body.settled, still_able) == (1, [True])


async def test_its_time_is_up() -> None:
    body = Body()
    state = await as_cancelled(body.start(deadline_s=0.01))
    assert "CRUCIBLE_FLOW_DEADLINE_S" in str(state.message)
    assert body.settled == 1


async def test_a_timeout_of_its_own_is_no_deadline() -> None:
    body = Body()

    async def times_out() -> str:
        raise TimeoutError("of Redis")

    with pytest.raises(TimeoutError, match="of Redis"):
        await body.runs.run(ID, times_out(), body.settle, 60)
    assert body.settled == 0


async def test_what_fails_is_left_open_for_whoever_can_go_on_with_it() -> None:
    body = Body()

    async def fails() -> str:
        raise StoreError("it is full")

    with pytest.raises(StoreError, match="it is full"):
        await body.runs.run(ID, fails(), body.settle)
    assert body.settled == 0


async def test_a_process_that_only_leaves_settles_nothing() -> None:
    body = Body()
    running = body.start()
    await body.began.wait()
    body.runs.leave()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert body.settled == 0


async def test_a_cancelled_flow_is_an_error_that_is_known() -> None:
    async def flow() -> str:
        raise CancelledRun("by somebody")

    with pytest.raises(Cancelled, match="by somebody"):
        await unless_cancelled(flow())
