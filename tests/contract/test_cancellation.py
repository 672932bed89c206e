"""Cancelled means: not started any more, ended where it runs, gone from the queue, whoever was away then.

Real servers, and on either leg real worker processes; the executor is one that runs no code.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import suppress

import pytest
import redis

from crucible.errors import ServiceUnavailable
from crucible.models import LEGS, Leg
from crucible.settings import CelerySettings, FlowSettings, LegacySettings
from executors.client import Killer
from tasks.background import BackgroundServices
from tasks.cancellation import Cancellations, Killers
from tasks.celery_leg.client import CeleryClient
from tasks.claims import Claims, ClaimState, Terms, claim_key, mark_key
from tasks.dispatch import Dispatch, Run
from tasks.exchange import Answer, Exchange
from tasks.legacy_leg.client import LegacyClient
from tasks.replies import ReplyReader
from tests.support.leg_fixtures import Servers, on_empty_servers, servers
from tests.support.legs import CONCURRENCY, STREAM, LegHarness, dispatch, dispatches
from tests.support.queues import taken_on_celery, taken_on_legacy, waiting_on_celery, waiting_on_legacy
from tests.support.stub_executor import TOKEN
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

__all__ = ["servers"]

PATIENT = FlowSettings(stall_s=600, resend_after_s=600)
NUMBER = 20


@pytest.fixture(params=LEGS)
def harness(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LegHarness]:
    """A leg on empty servers, without a worker, whose executor holds what it gets."""
    with on_empty_servers(request.param, servers) as made:
        made.executor.hold()
        yield made


class Host:
    """As much of a flow host as asks and cancels; ``kills`` says whether it knows where the executors are."""

    def __init__(self, harness: LegHarness, *, kills: bool) -> None:
        self.harness = harness
        killer = Killer([harness.executor.url], TOKEN)
        killers: Killers = {harness.leg: [killer]} if kills else {}
        url = harness.redis.url
        clients = (
            LegacyClient(url, LegacySettings()),
            CeleryClient(harness.celery_redis.url, CelerySettings()),
        )
        self.exchange = Exchange(clients, ReplyReader(url, STREAM), Cancellations(url, killers), PATIENT)
        self.answers: dict[str, Answer] = {}

    def ask(self, runs: list[Dispatch]) -> asyncio.Task[None]:
        """Begins to ask the harness' leg."""
        return asyncio.create_task(self.exchange.ask(self.harness.leg, runs, self._note))

    def _note(self, answer: Answer) -> None:
        assert answer.run_id not in self.answers, "reported twice"
        self.answers[answer.run_id] = answer

    @property
    def cancelled(self) -> set[str]:
        """The runs of which it was told that they were cancelled."""
        return {run_id for run_id, answer in self.answers.items() if answer.cancelled}


@pytest.fixture
async def host(harness: LegHarness) -> AsyncIterator[Host]:
    """A host that leaves killing to the workers."""
    made = Host(harness, kills=False)
    made.exchange.open(BackgroundServices())
    yield made
    await made.exchange.close()


@pytest.fixture
async def killing_host(harness: LegHarness) -> AsyncIterator[Host]:
    """A host that knows the executors."""
    made = Host(harness, kills=True)
    made.exchange.open(BackgroundServices())
    yield made
    await made.exchange.close()


def waiting(harness: LegHarness) -> int:
    if harness.leg == "legacy":
        return waiting_on_legacy(harness.redis.client())
    return waiting_on_celery(harness.celery_redis.client())


def taken(harness: LegHarness) -> int:
    if harness.leg == "legacy":
        return taken_on_legacy(harness.redis.client())
    return taken_on_celery(harness.celery_redis.client())


def held(harness: LegHarness, number: int = CONCURRENCY) -> Callable[[], bool]:
    """Whether ``number`` programs run."""
    return lambda: len(harness.executor.order) >= number


def evaluation_of(run: Dispatch) -> str:
    return run.run_id.rpartition(".")[0]


async def test_what_is_cancelled_leaves_the_queue_and_ends_where_it_runs(
    harness: LegHarness, host: Host
) -> None:
    harness.start_worker()
    runs = dispatches(NUMBER)
    asking = host.ask(runs)
    await eventually(held(harness))
    await host.exchange.cancel([evaluation_of(run) for run in runs])
    assert waiting(harness) == 0
    await asyncio.wait_for(asking, 60)
    assert host.cancelled == {run.run_id for run in runs}
    await eventually(lambda: harness.executor.cancelled == set(harness.executor.order))
    await eventually(lambda: taken(harness) == 0)
    assert len(harness.executor.order) == CONCURRENCY, "none was started any more"


async def test_one_that_is_cancelled_leaves_the_others_alone(harness: LegHarness, host: Host) -> None:
    harness.start_worker()
    runs = dispatches(CONCURRENCY + 2)
    asking = host.ask(runs)
    await eventually(held(harness))
    running, queued = runs[0], runs[-1]
    assert running.run_id in harness.executor.order
    await host.exchange.cancel([evaluation_of(running)])
    await host.exchange.cancel([evaluation_of(queued)])
    await eventually(lambda: harness.executor.cancelled == {running.run_id})
    harness.executor.let_go()
    await asyncio.wait_for(asking, 60)
    assert host.cancelled == {running.run_id, queued.run_id}
    assert queued.run_id not in harness.executor.order
    assert sum(answer.observation is not None for answer in host.answers.values()) == len(runs) - 2


async def test_a_worker_that_was_down_obeys_when_it_comes(harness: LegHarness, host: Host) -> None:
    """Its payloads are still there: as if they could not be withdrawn, or came while that was done."""
    runs = dispatches(NUMBER)
    cancellations = Cancellations(harness.redis.url, {})
    await cancellations.mark([evaluation_of(run) for run in runs])
    await cancellations.aclose()
    client = harness.client()
    await client.send(runs)
    assert waiting(harness) == NUMBER
    harness.start_worker()
    await eventually(lambda: waiting(harness) == taken(harness) == 0)
    assert harness.executor.order == []
    await client.aclose()


async def test_a_worker_that_stood_still_finds_its_programs_ended_and_its_queue_empty(
    harness: LegHarness, killing_host: Host
) -> None:
    worker = harness.start_worker()
    runs = dispatches(NUMBER)
    asking = killing_host.ask(runs)
    await eventually(held(harness))
    worker.process.send_signal(signal.SIGSTOP)
    await killing_host.exchange.cancel([evaluation_of(run) for run in runs])
    assert harness.executor.cancelled == set(harness.executor.order)
    assert waiting(harness) == 0
    if harness.leg == "celery":
        assert taken(harness) == 0
    await asyncio.wait_for(asking, 60)
    worker.process.send_signal(signal.SIGCONT)
    await eventually(lambda: taken(harness) == 0)
    assert len(harness.executor.order) == CONCURRENCY


async def test_what_a_killed_worker_had_is_not_run_again(harness: LegHarness, killing_host: Host) -> None:
    worker = harness.start_worker()
    runs = dispatches(NUMBER)
    asking = killing_host.ask(runs)
    await eventually(held(harness))
    worker.kill()
    await killing_host.exchange.cancel([evaluation_of(run) for run in runs])
    await asyncio.wait_for(asking, 60)
    started = list(harness.executor.order)
    assert harness.executor.cancelled == set(started)
    harness.start_worker("worker-b")
    await eventually(lambda: waiting(harness) == taken(harness) == 0)
    assert harness.executor.order == started


async def test_whoever_stops_asking_takes_back_what_it_sent(harness: LegHarness, host: Host) -> None:
    harness.start_worker()
    runs = dispatches(NUMBER)
    asking = host.ask(runs)
    await eventually(held(harness))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert waiting(harness) == 0
    await eventually(lambda: harness.executor.cancelled == set(harness.executor.order))
    await eventually(lambda: taken(harness) == 0)
    assert host.answers == {}


class Late(LegacyClient):
    """A sender so slow that what it sends is cancelled before it comes to that."""

    def __init__(self, server: Valkey) -> None:
        super().__init__(server.url, LegacySettings())
        self._watched = server.client()
        self.has_begun = asyncio.Event()
        self.has_sent = False

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        self.has_begun.set()
        await eventually(lambda: bool(self._watched.exists(mark_key(dispatches[0].run_id))))
        await super().send(dispatches)
        self.has_sent = True


async def test_what_was_still_being_sent_is_not_left_in_the_queue(servers: tuple[Valkey, Valkey]) -> None:
    server, other = servers
    late = Late(server)
    clients = (late, CeleryClient(other.url, CelerySettings()))
    exchange = Exchange(clients, ReplyReader(server.url, STREAM), Cancellations(server.url, {}), PATIENT)
    exchange.open(BackgroundServices())
    asking = asyncio.create_task(exchange.ask("legacy", dispatches(NUMBER, prefix="late"), lambda _: None))
    await late.has_begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: late.has_sent)
    assert waiting_on_legacy(server.client()) == 0
    await exchange.close()


async def test_a_process_that_only_leaves_takes_nothing_back(harness: LegHarness, host: Host) -> None:
    harness.start_worker()
    runs = dispatches(NUMBER)
    asking = host.ask(runs)
    await eventually(held(harness))
    host.exchange.leave()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert harness.executor.cancelled == set()
    assert waiting(harness) + taken(harness) == NUMBER
    assert harness.redis.client().keys(mark_key("*")) == []


async def test_another_process_cancels_what_this_one_asked_for(harness: LegHarness, host: Host) -> None:
    harness.start_worker()
    runs = dispatches(NUMBER)
    asking = host.ask(runs)
    await eventually(held(harness))
    other = Host(harness, kills=False)
    await other.exchange.cancel([evaluation_of(run) for run in runs])
    await asyncio.wait_for(asking, 60)
    assert host.cancelled == {run.run_id for run in runs}
    await other.exchange.close()


async def test_what_was_cancelled_before_a_host_could_listen_is_not_waited_for(harness: LegHarness) -> None:
    """As when Redis refuses its first look: the marks are older than the place that it listens from."""
    host = Host(harness, kills=False)
    runs = dispatches(NUMBER)
    asking = host.ask(runs)
    await eventually(lambda: waiting(harness) == NUMBER)
    await host.exchange.cancel([evaluation_of(run) for run in runs])
    host.exchange.open(BackgroundServices())
    await asyncio.wait_for(asking, 60)
    assert host.cancelled == {run.run_id for run in runs}
    await host.exchange.close()


async def test_what_was_cancelled_before_is_not_even_sent(harness: LegHarness, host: Host) -> None:
    first, second = dispatches(2)
    await host.exchange.cancel([evaluation_of(first)])
    asking = host.ask([first, second])
    await eventually(lambda: waiting(harness) == 1)
    assert host.cancelled == {first.run_id}
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def test_an_answer_that_came_first_stands(harness: LegHarness, host: Host) -> None:
    harness.start_worker()
    harness.executor.let_go()
    run = dispatch("first.0")
    await asyncio.wait_for(host.ask([run]), 60)
    await host.exchange.cancel(["first"])
    assert host.answers["first.0"].observation is not None
    assert not host.answers["first.0"].cancelled


async def test_payloads_of_others_in_the_same_queue_are_left_alone(harness: LegHarness, host: Host) -> None:
    """Ids in programs' own words are no ids, and neither are those of which one is the beginning."""
    named = dispatch("twin.0")
    code = f'{{"id":"twin.0", "correlation_id": "twin.0"}}{named.run_id}'
    quoting = Dispatch("other.0", named.evaluation.model_copy(update={"code": code}), STREAM)
    longer = dispatch("twin.01", priority=9)
    client = harness.client()
    await client.send([quoting, named, longer])
    assert await client.withdraw(["twin.0"]) == 1
    assert waiting(harness) == 2
    assert await client.withdraw(["twin.0", "never-sent.0"]) == 0
    await client.aclose()


async def test_nothing_is_cancelled_when_nobody_can_be_told(harness: LegHarness) -> None:
    server = Valkey()
    server.start()
    cancellations = Cancellations(server.url, {})
    server.stop()
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        await cancellations.mark(["ev-1"])
    await cancellations.aclose()
    server.remove()


class Ended(Killer):
    """Knows no executor, and in which order it was to end runs."""

    def __init__(self) -> None:
        super().__init__([], TOKEN)
        self.order: list[str] = []

    def end(self, run_ids: Collection[str]) -> int:
        self.order += run_ids
        return 0


async def test_what_a_worker_has_in_hand_is_ended_before_what_may_be_anywhere(harness: LegHarness) -> None:
    ended = Ended()
    cancellations = Cancellations(harness.redis.url, {harness.leg: [ended]})
    harness.redis.client().set(claim_key("second.0", harness.leg), "somebody's")
    await cancellations.kill(["first.0", "second.0", "third.0"], [harness.leg])
    assert ended.order == ["second.0", "first.0", "third.0"]
    await cancellations.aclose()


@pytest.mark.parametrize("marked", ["marks-1", "marks-1.0"])
def test_a_marked_run_is_not_claimed(servers: tuple[Valkey, Valkey], marked: str) -> None:
    client: redis.Redis = servers[0].client()
    client.flushall()
    leg: Leg = "celery"
    claims = Claims(client, leg, "one", Terms(60_000, 60_000))
    run, other = (Run(f"marks-{number}.0", "python", "", "", {}, "marks-replies") for number in (1, 10))
    client.set(mark_key(marked), 1)
    claim = claims.claim(run)
    assert claim.state is ClaimState.CANCELLED
    assert claims.claim(other).state is ClaimState.CLAIMED
    assert claims.answer(claim, b'{"outcome":"cancelled"}')
    assert not claims.answer(claim, b'{"outcome":"cancelled"}'), "reported once"
    assert claims.claim(run).state is ClaimState.ANSWERED
