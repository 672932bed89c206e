"""Background services: what fails is started again, counted and shown."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from tasks.background import BackgroundService, BackgroundServices, ServiceState
from tests.support.waiting import eventually


@pytest.fixture
async def services() -> AsyncIterator[BackgroundServices]:
    made = BackgroundServices()
    yield made
    await made.aclose()


class FailsFirst:
    """A round that fails ``times`` times, and then goes well."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error = times, error
        self.well = asyncio.Event()

    async def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise self.error
        self.well.set()


def state_of(services: BackgroundServices) -> ServiceState:
    (state,) = services.states()
    return state


async def overdue(services: BackgroundServices) -> None:
    while state_of(services).overdue is None:  # noqa: ASYNC110 (nothing announces that time has passed)
        await asyncio.sleep(0.01)


def failures(name: str) -> float:
    return REGISTRY.get_sample_value("crucible_background_failures_total", {"service": name}) or 0.0


@pytest.mark.parametrize("error", [LookupError("planted"), OSError("disk full"), KeyError()])
async def test_a_loop_is_started_again_after_any_error(
    services: BackgroundServices, error: Exception
) -> None:
    before = failures("duty")
    work = FailsFirst(3, error)
    services.every(0.01, "duty", work)
    await work.well.wait()
    await asyncio.sleep(0)
    state = state_of(services)
    assert (state.failures, state.failing_s, state.overdue) == (3, 0.0, None)
    assert state.last_error
    assert failures("duty") - before == 3


async def test_a_loop_that_keeps_failing_is_failing_and_then_overdue(services: BackgroundServices) -> None:
    work = FailsFirst(10**9, LookupError("planted"))
    services.every(0.01, "duty", work, bound_s=0.2)
    await eventually(lambda: "planted" in (state_of(services).overdue or ""))
    state = state_of(services)
    assert "planted" in (state.overdue or "")
    assert state.failing_s > 0
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) == 0.0


async def test_a_loop_that_hangs_is_overdue(services: BackgroundServices) -> None:
    async def hang(_service: BackgroundService) -> None:
        await asyncio.Event().wait()

    services.keep("duty", hang, bound_s=0.05)
    await overdue(services)
    assert "hangs" in (state_of(services).overdue or "")


async def test_a_loop_that_waits_for_something_to_do_is_well(services: BackgroundServices) -> None:
    asked, idle = asyncio.Event(), asyncio.Event()

    async def wait(service: BackgroundService) -> None:
        idle.set()
        await service.idle(asked)
        raise LookupError("planted")

    services.keep("duty", wait, bound_s=60)
    await idle.wait()
    service = services._services["duty"]
    service._last_round -= 120
    assert state_of(services).overdue
    await eventually(lambda: state_of(services).overdue is None)
    asked.set()
    await eventually(lambda: state_of(services).failures > 0)


async def test_what_cancels_something_that_a_loop_awaits_does_not_end_it(
    services: BackgroundServices,
) -> None:
    async def awaits_what_is_cancelled(_service: BackgroundService) -> None:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    services.keep("duty", awaits_what_is_cancelled, bound_s=5)
    await eventually(lambda: state_of(services).failures > 1)
    assert "was cancelled" in (state_of(services).last_error or "")


async def test_a_service_that_was_ended_is_no_longer_measured(services: BackgroundServices) -> None:
    services.every(0.01, "duty", FailsFirst(0, LookupError()))
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) == 1.0
    await services.end("duty")
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) is None


async def test_of_two_parts_of_a_process_with_the_same_service_both_are_measured(
    services: BackgroundServices,
) -> None:
    other = BackgroundServices()
    services.every(0.01, "duty", FailsFirst(10**9, LookupError()))
    await eventually(lambda: state_of(services).failures > 0)
    other.every(0.01, "duty", FailsFirst(0, LookupError()))
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) == 0.0
    await services.aclose()
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) == 1.0
    await other.aclose()
    assert REGISTRY.get_sample_value("crucible_background_well", {"service": "duty"}) is None


async def test_a_service_that_is_ended_runs_no_more(services: BackgroundServices) -> None:
    ended = asyncio.Event()

    async def wait(_service: BackgroundService) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    services.keep("duty", wait, bound_s=5)
    await asyncio.sleep(0)
    await services.end("duty")
    assert ended.is_set()
    assert services.states() == ()


async def test_two_services_cannot_have_one_name(services: BackgroundServices) -> None:
    services.every(1, "duty", FailsFirst(0, LookupError()))
    with pytest.raises(ValueError, match="duty"):
        services.every(1, "duty", FailsFirst(0, LookupError()))


def test_a_thread_is_started_again_and_stops_when_asked() -> None:
    services, well = BackgroundServices(), threading.Event()
    left = [LookupError("planted"), OSError("disk full")]

    def work() -> None:
        if left:
            raise left.pop()
        well.set()

    services.every_in_thread(0.01, "duty", work)
    assert well.wait(30)
    assert state_of(services).failures == 2
    services.stop_threads()
    assert services.states() == ()
    assert not [each for each in threading.enumerate() if each.name == "duty"]
