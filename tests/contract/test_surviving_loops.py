"""Lease, event log and reply reader go on after any error of their Redis, and lose nothing by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import uuid4

import pytest

from crucible.models import Observation
from crucible.settings import FlowSettings
from tasks.background import BackgroundServices, ServiceState
from tasks.cancellation import Cancellations
from tasks.connections import AsyncRedisClient, AsyncRedisPipeline
from tasks.dispatch import Dispatch
from tasks.events import EVENTS_KEY, EventKind, EventLog
from tasks.exchange import Answer, Exchange
from tasks.leases import Lease, host_key
from tasks.replies import ReplyReader
from tests.support.faulty import PLANTED, Faulty
from tests.support.ledger import evaluation
from tests.support.scripted_leg import ScriptedLeg
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

FOR_A_WHILE = 10**9


def faulty_command(monkeypatch: pytest.MonkeyPatch, name: str) -> Faulty:
    """Every Redis command of that name in this process, as one that may fail."""
    made = Faulty(AsyncRedisClient.execute_command, lambda _client, command, *_, **__: command == name)

    async def execute_command(client: AsyncRedisClient, *arguments: object, **options: object) -> object:
        return await made(client, *arguments, **options)

    monkeypatch.setattr(AsyncRedisClient, "execute_command", execute_command)
    return made


def state_of(background: BackgroundServices, name: str) -> ServiceState:
    (state,) = (each for each in background.states() if each.name == name)
    return state


@pytest.mark.parametrize("times", [1, FOR_A_WHILE])
async def test_a_lease_is_renewed_after_any_error(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    lease, background = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=1), BackgroundServices()
    await lease.open(background)
    client, set_command = valkey.client(), faulty_command(monkeypatch, "SET")
    set_command.times = times
    await eventually(lambda: state_of(background, "host lease").failures > (times > 1))
    set_command.times = 0
    client.delete(host_key(lease.owner))
    await eventually(lambda: bool(client.exists(host_key(lease.owner))))
    await eventually(lambda: state_of(background, "host lease").failing_s == 0)
    await lease.close()


@pytest.mark.parametrize("times", [1, FOR_A_WHILE])
async def test_events_are_written_once_and_in_order_after_any_error(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    execute = Faulty(AsyncRedisPipeline.execute)

    async def faulty(pipeline: AsyncRedisPipeline) -> object:
        return await execute(pipeline)

    monkeypatch.setattr(AsyncRedisPipeline, "execute", faulty)
    client, log, background = valkey.client(), EventLog(valkey.url), BackgroundServices()
    client.delete(EVENTS_KEY)
    log.open(background)
    execute.times = times
    wanted = [f"ev-{number}" for number in range(1200)]
    for each in wanted:
        log.put(EventKind.SETTLED, {"id": each})
    await eventually(lambda: state_of(background, "event log").failures > (times > 1))
    log.put(EventKind.SETTLED, {"id": "last"})
    execute.times = 0
    await eventually(lambda: client.xlen(EVENTS_KEY) > len(wanted))
    written = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(EVENTS_KEY))
    assert [fields[b"data"] for _, fields in written] == [
        f'{{"id":"{each}"}}'.encode() for each in (*wanted, "last")
    ]
    await log.close()


class Asked:
    """An exchange on a scripted leg, that answers when a test has it."""

    def __init__(self, server: Valkey, resend_after_s: float = 60, stall_s: float = 120) -> None:
        self.server, self.stream = server, f"replies-{uuid4().hex}"
        self.legs = tuple(
            ScriptedLeg(leg, server, self.stream, lambda *_: None) for leg in ("legacy", "celery")
        )
        self.background = BackgroundServices()
        settings = FlowSettings(max_faults=1, resend_after_s=resend_after_s, stall_s=stall_s)
        reader = ReplyReader(server.url, self.stream)
        self.exchange = Exchange(self.legs, reader, Cancellations(server.url, {}), settings)
        self.answers: dict[str, Answer] = {}

    def ask(self, *run_ids: str) -> asyncio.Task[None]:
        return asyncio.create_task(
            self.exchange.ask("legacy", [Dispatch(each, evaluation(), "") for each in run_ids], self.take)
        )

    def take(self, answer: Answer) -> None:
        assert answer.run_id not in self.answers, "reported twice"
        self.answers[answer.run_id] = answer

    def seen(self, run_id: str) -> Observation | None:
        return self.answers[run_id].observation

    def has_sent(self, *run_ids: str) -> bool:
        return set(run_ids) <= self.legs[0].sent.keys()

    @property
    def reader(self) -> ServiceState:
        return state_of(self.background, "reply reader")


@pytest.fixture
async def asked(valkey: Valkey) -> AsyncIterator[Asked]:
    async with running(Asked(valkey)) as made:
        yield made


@asynccontextmanager
async def running(asked: Asked) -> AsyncIterator[Asked]:
    asked.exchange.open(asked.background)
    yield asked
    await asked.exchange.close()


@pytest.mark.parametrize("times", [1, FOR_A_WHILE])
async def test_replies_are_read_on_after_any_error(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    asking = asked.ask("one.0", "two.0")
    await eventually(lambda: asked.has_sent("one.0", "two.0"))
    asked.legs[0].answer("one.0")
    await eventually(lambda: "one.0" in asked.answers)
    read = faulty_command(monkeypatch, "XREAD")
    read.times = times
    asked.legs[0].answer("three.0")  # wakes whoever reads now
    await eventually(lambda: asked.reader.failures > (times > 1))
    asked.legs[0].answer("two.0")
    read.times = 0
    async with asyncio.timeout(60):
        await asking
    assert asked.seen("two.0") is not None
    assert asked.exchange.tally.dropped == 1  # "three.0", once: nothing was read again


async def test_a_reply_that_cannot_be_read_is_passed_over(asked: Asked) -> None:
    asking = asked.ask("one.0")
    await eventually(lambda: asked.has_sent("one.0"))
    with asked.server.client() as client:
        client.xadd(asked.stream, {"nonsense": b"\xff"})
        client.xadd(asked.stream, {"id": "one.0", "leg": "third", "worker": "w"})
        client.xadd(asked.stream, {"id": "one.0", "leg": "legacy", "worker": "w", "taken_at": "now"})
    asked.legs[0].answer("one.0")
    async with asyncio.timeout(60):
        await asking
    assert asked.seen("one.0") is not None
    assert asked.reader.failures == 0


async def test_an_answer_that_is_no_observation_is_a_fault_of_that_run_alone(asked: Asked) -> None:
    asking = asked.ask("one.0", "two.0")
    await eventually(lambda: asked.has_sent("one.0", "two.0"))
    asked.legs[0]._reply("one.0", {"kind": "answer", "observation": '{"outcome": "surprise"}'})
    asked.legs[0].answer("two.0")
    async with asyncio.timeout(60):
        await asking
    assert asked.seen("two.0") is not None
    assert "no observation" in (asked.answers["one.0"].reason or "")


async def test_a_defect_in_the_hands_of_one_who_asks_is_his_alone(asked: Asked) -> None:
    def fails(_answer: Answer) -> None:
        raise LookupError(PLANTED)

    failing = asyncio.create_task(asked.exchange.ask("legacy", [Dispatch("bad.0", evaluation(), "")], fails))
    asking = asked.ask("good.0")
    await eventually(lambda: asked.has_sent("bad.0", "good.0"))
    asked.legs[0].answer("bad.0")
    asked.legs[0].answer("good.0")
    async with asyncio.timeout(60):
        with pytest.raises(LookupError, match=PLANTED):
            await failing
        await asking
    assert asked.reader.failures == 0


async def test_deadlines_are_watched_after_any_error(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Asked(valkey, resend_after_s=1, stall_s=1)) as made:
        look = faulty_command(monkeypatch, "MGET")
        asking = made.ask("lost.0")
        await eventually(lambda: made.has_sent("lost.0"))
        look.times = FOR_A_WHILE
        await eventually(lambda: state_of(made.background, "run deadlines").failures > 1)
        look.times = 0
        async with asyncio.timeout(60):
            await asking
    assert "no answer" in (made.answers["lost.0"].reason or "")
