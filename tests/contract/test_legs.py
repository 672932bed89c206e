"""One suite over both legs: real servers, real worker processes, an executor that runs no code."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from crucible.errors import ServiceUnavailable
from crucible.settings import LegacySettings
from tasks.claims import DUPLICATES_KEY, claim_key
from tests.support.leg_fixtures import flow, harness, servers
from tests.support.legs import STREAM, Flow, LegHarness, Worker, dispatch, dispatches
from tests.support.waiting import eventually

__all__ = ["flow", "harness", "servers"]

RESEND_EVERY_S = 0.5
STUCK = 1
"""How a Celery worker ends that takes nothing any more, as some do after a loss of their broker."""


@pytest.fixture
def worker(harness: LegHarness) -> Worker:
    """A worker that takes work."""
    return harness.start_worker()


def held_by_the_executor(harness: LegHarness, number: int) -> Callable[[], bool]:
    """Whether ``number`` requests wait at the executor."""
    return lambda: len(harness.executor.order) >= number


@pytest.mark.usefixtures("worker")
async def test_every_run_of_a_batch_is_answered_once(harness: LegHarness, flow: Flow) -> None:
    runs = dispatches(60)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert Counter(reply.run_id for reply in flow.replies) == Counter(run.run_id for run in runs)
    for reply in flow.replies:
        assert (reply.leg, reply.kind, reply.fault) == (harness.leg, "answer", None)
        assert reply.worker == "worker-a"
        assert reply.taken_at <= reply.finished_at


@pytest.mark.usefixtures("worker")
async def test_the_observation_arrives_byte_for_byte(harness: LegHarness, flow: Flow) -> None:
    harness.executor.observation = {"detail": "naïve \u2028 \x00 \U0001f600", "memory_peak_mb": 1.50}
    run = dispatch("bytes.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert flow.replies[0].observation == harness.executor.answers[run.run_id]


@pytest.mark.usefixtures("worker")
async def test_a_run_sent_five_times_is_answered_once(harness: LegHarness, flow: Flow) -> None:
    run, last = dispatch("often.0", priority=9), dispatch("last.0", priority=0)
    harness.executor.hold()
    for _ in range(5):
        await flow.send([run])
    await eventually(held_by_the_executor(harness, 1))
    await flow.send([last])
    harness.executor.let_go()
    await flow.read_until_all_reported([run, last])
    assert sorted(reply.run_id for reply in flow.replies) == ["last.0", "often.0"]
    assert harness.executor.requests[run.run_id] == 1


@pytest.mark.usefixtures("worker")
async def test_an_urgent_run_overtakes_those_that_wait(harness: LegHarness, flow: Flow) -> None:
    patient = dispatches(12, priority=0, prefix="patient")
    urgent = dispatch("urgent.0", priority=9)
    harness.executor.hold()
    await flow.send(patient)
    await eventually(held_by_the_executor(harness, 2))
    await flow.send([urgent])
    harness.executor.let_go()
    await flow.read_until_all_reported([*patient, urgent])
    assert harness.executor.order.index("urgent.0") <= 4


@pytest.mark.usefixtures("worker")
async def test_a_fault_is_reported_and_the_run_can_be_sent_again(harness: LegHarness, flow: Flow) -> None:
    run = dispatch("fault.0")
    harness.executor.stop()
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert flow.replies[0].kind == "fault"
    assert flow.replies[0].observation is None
    assert harness.executor.url in str(flow.replies[0].fault)
    harness.executor.start()
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert [reply.kind for reply in flow.replies] == ["fault", "answer"]


@pytest.mark.parametrize("status", [401, 422, 503])
@pytest.mark.usefixtures("worker")
async def test_a_refusal_of_the_executor_is_reported_with_its_reason(
    harness: LegHarness, flow: Flow, status: int
) -> None:
    harness.executor.status = status
    run = dispatch(f"refused-{status}.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    reason = str(flow.replies[0].fault)
    assert "CRUCIBLE_EXECUTOR_TOKEN" in reason if status == 401 else "told to refuse" in reason


@pytest.mark.usefixtures("worker")
async def test_a_sandbox_error_is_a_fault_and_no_observation(harness: LegHarness, flow: Flow) -> None:
    harness.executor.observation = {"outcome": "sandbox_error", "detail": "no namespaces"}
    run = dispatch("sandbox.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert flow.replies[0].kind == "fault"
    assert "no namespaces" in str(flow.replies[0].fault)


@pytest.mark.usefixtures("worker")
async def test_a_program_that_prints_sandbox_error_is_answered(flow: Flow) -> None:
    run = dispatch('"sandbox_error"')
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert flow.replies[0].kind == "answer"


async def test_a_killed_worker_loses_and_duplicates_nothing(
    harness: LegHarness, flow: Flow, worker: Worker
) -> None:
    runs = dispatches(30)
    harness.executor.hold()
    await flow.send(runs)
    await eventually(held_by_the_executor(harness, 2))
    worker.kill()
    harness.executor.let_go()
    harness.start_worker("worker-b")
    await flow.read_until_all_reported(runs, resend_every_s=RESEND_EVERY_S)
    assert Counter(reply.run_id for reply in flow.replies) == Counter(run.run_id for run in runs)
    assert {reply.kind for reply in flow.replies} == {"answer"}


async def test_a_worker_told_to_stop_finishes_what_it_runs_and_takes_no_more(
    harness: LegHarness, flow: Flow, worker: Worker
) -> None:
    runs = dispatches(100)  # more than the others of its threads can run before the one that is told is awake
    harness.executor.hold()
    await flow.send(runs)
    await eventually(held_by_the_executor(harness, 2))
    worker.process.terminate()
    harness.executor.let_go()
    assert worker.process.wait(60) == 0
    assert "Traceback" not in worker.rest_of_output()
    answered = harness.redis.client().xlen(STREAM)
    assert 2 <= answered < len(runs)
    harness.start_worker("worker-b")
    await flow.read_until_all_reported(runs, resend_every_s=RESEND_EVERY_S)
    assert Counter(reply.run_id for reply in flow.replies) == Counter(run.run_id for run in runs)
    assert not harness.redis.client().hgetall(DUPLICATES_KEY)


async def test_a_worker_that_cannot_finish_in_time_gives_its_runs_back(
    harness: LegHarness, flow: Flow, worker: Worker
) -> None:
    run = dispatch("stuck.0")
    harness.executor.hold()
    await flow.send([run])
    await eventually(held_by_the_executor(harness, 1))
    worker.process.terminate()
    assert worker.process.wait(60) == 0
    assert await flow.reader.claims_alive([run.run_id], harness.leg) == set()
    harness.executor.let_go()
    harness.start_worker("worker-b")
    await flow.read_until_all_reported([run], resend_every_s=RESEND_EVERY_S)
    assert [reply.worker for reply in flow.replies] == ["worker-b"]


@pytest.mark.usefixtures("worker")
async def test_a_claim_is_renewed_while_its_run_goes_on(harness: LegHarness, flow: Flow) -> None:
    run, client, seen = dispatch("long.0"), harness.redis.client(), [0]
    harness.executor.hold()
    await flow.send([run])
    await eventually(held_by_the_executor(harness, 1))

    def has_more_time_than_before() -> bool:
        seen.append(client.pttl(claim_key(run.run_id, harness.leg)))
        return 0 < seen[-2] < seen[-1]

    await eventually(has_more_time_than_before)
    harness.executor.let_go()
    await flow.read_until_all_reported([run])
    assert flow.replies[0].kind == "answer"


@pytest.mark.usefixtures("worker")
async def test_claims_alive_names_the_runs_in_hand(harness: LegHarness, flow: Flow) -> None:
    run = dispatch("alive.0")
    harness.executor.hold()
    await flow.send([run])
    await eventually(held_by_the_executor(harness, 1))
    assert await flow.reader.claims_alive(["alive.0", "absent.0"], harness.leg) == {"alive.0"}
    harness.executor.let_go()
    await flow.read_until_all_reported([run])
    assert await flow.reader.claims_alive(["alive.0"], harness.leg) == set()


async def test_a_redis_that_restarts_stops_nobody(harness: LegHarness, flow: Flow, worker: Worker) -> None:
    first, second = dispatches(5, prefix="first"), dispatches(5, prefix="second")
    await flow.send(first)
    await flow.read_until_all_reported(first)
    for server in (harness.redis, harness.celery_redis):
        server.stop()
        server.start()
    await flow.send(second)
    reading = asyncio.create_task(flow.read_until_all_reported(second, resend_every_s=RESEND_EVERY_S))
    while not reading.done():
        if harness.leg == "celery" and worker.process.poll() == STUCK:
            worker = harness.spawn("worker-b")  # as whoever starts workers does
        await asyncio.wait([reading], timeout=0.1)
    await reading
    assert worker.process.poll() is None
    assert Counter(reply.run_id for reply in flow.replies) == Counter(r.run_id for r in first + second)


async def test_a_worker_waits_for_a_redis_that_is_not_there_yet(harness: LegHarness, flow: Flow) -> None:
    harness.redis.stop()
    worker = harness.spawn()
    worker.wait_for_line("waiting for Redis")
    harness.redis.start()
    worker.wait_until_ready()
    run = dispatch("late.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    assert not any("Traceback" in line for line in worker.output)


async def test_sending_to_a_redis_that_is_away_says_which_one(harness: LegHarness) -> None:
    server = harness.redis if harness.leg == "legacy" else harness.celery_redis
    client = harness.client()
    server.stop()
    try:
        with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{server.port}") as caught:
            await client.send([dispatch("nowhere.0")])
        assert server.password not in str(caught.value)
    finally:
        server.start()
        await client.aclose()


@pytest.mark.usefixtures("worker")
async def test_nothing_is_left_behind_when_all_is_answered(harness: LegHarness, flow: Flow) -> None:
    runs = dispatches(20)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    settings, client = LegacySettings(), harness.redis.client()
    books = (settings.processing_key, settings.leases_key, settings.attempts_key)
    await eventually(lambda: client.exists(*books) == 0)
    await eventually(lambda: harness.celery_redis.client().exists("c:unacked", "c:unacked_index") == 0)
    assert client.llen(settings.doorbell_key) <= 64
