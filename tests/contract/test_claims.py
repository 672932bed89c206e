"""Claiming and completing, on a real server: one worker at a time, and never two answers."""

from dataclasses import replace
from itertools import count
from typing import cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks.claims import DUPLICATES_KEY, Claim, Claims, ClaimState, Terms, claim_key, done_key
from tasks.dispatch import Run
from tasks.replies import ReplyReader
from tasks.scripts.signatures import QueueBooks
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

TERMS = Terms(lease_ms=60_000, result_ttl_ms=60_000)
BOOKS = QueueBooks("t:processing", "t:leases", "t:attempts")
NUMBERS = count()


def new_run(payload: bytes | None = None) -> Run:
    """A run nobody has seen, with a stream of its own."""
    number = next(NUMBERS)
    return Run(f"claims-{number}.0", "python", "", "", {}, f"claims-replies-{number}", payload)


def entries(client: redis.Redis, run: Run) -> list[dict[bytes, bytes]]:
    """The fields of all that was reported of ``run``."""
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(run.reply_to))
    return [fields for _, fields in found]


@pytest.fixture
def one(valkey: Valkey) -> Claims:
    """The claims of a worker."""
    return Claims(valkey.client(), "celery", "one", TERMS)


@pytest.fixture
def two(valkey: Valkey) -> Claims:
    """The claims of another worker of the same name, as after a restart."""
    return Claims(valkey.client(), "celery", "one", TERMS)


def test_a_run_is_claimed_once_while_its_claim_lives(one: Claims, two: Claims) -> None:
    run = new_run()
    assert one.claim(run).state is ClaimState.CLAIMED
    assert two.claim(run).state is ClaimState.HELD
    assert one.claim(run).state is ClaimState.HELD, "another thread of the same worker is another claimant"


def test_the_claim_command_may_be_sent_twice(one: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run()
    first = one.claim(run)
    monkeypatch.setattr(one, "_numbers", count(int(first.token.rsplit(":", 1)[1])))
    again = one.claim(run)
    assert again.token == first.token
    assert again.state is ClaimState.CLAIMED


def test_an_answered_run_is_not_claimed_again(one: Claims, two: Claims) -> None:
    run = new_run()
    assert one.answer(one.claim(run), b"{}")
    assert two.claim(run).state is ClaimState.ANSWERED


def test_the_first_answer_wins_and_the_second_is_counted(valkey: Valkey, one: Claims, two: Claims) -> None:
    run, client = new_run(), valkey.client()
    before = int(client.hget(DUPLICATES_KEY, "celery") or 0)
    first = one.claim(run)
    client.delete(claim_key(run.run_id, "celery"))
    second = two.claim(run)
    assert two.answer(second, b"second came first")
    assert not one.answer(first, b"too late")
    (fields,) = entries(client, run)
    assert fields[b"observation"] == b"second came first"
    assert int(client.hget(DUPLICATES_KEY, "celery") or 0) == before + 1


def test_a_fault_frees_the_run_for_another_worker(valkey: Valkey, one: Claims, two: Claims) -> None:
    run = new_run()
    assert one.fault(one.claim(run), "no executor")
    (fields,) = entries(valkey.client(), run)
    assert (fields[b"kind"], fields[b"fault"]) == (b"fault", b"no executor")
    assert two.claim(run).state is ClaimState.CLAIMED


def test_a_worker_that_lost_its_claim_tells_no_fault_and_takes_no_claim_away(
    valkey: Valkey, one: Claims, two: Claims
) -> None:
    run, client = new_run(), valkey.client()
    lost = one.claim(run)
    client.delete(claim_key(run.run_id, "celery"))
    two.claim(run)
    assert not one.fault(lost, "no executor")
    assert client.xlen(run.reply_to) == 0
    assert one.claim(run).state is ClaimState.HELD


def test_renewing_prolongs_own_claims_and_no_others(valkey: Valkey, one: Claims, two: Claims) -> None:
    mine, lost, client = new_run(), new_run(), valkey.client()
    for run in (mine, lost):
        one.claim(run)
    client.delete(claim_key(lost.run_id, "celery"))
    two.claim(lost)
    for run in (mine, lost):
        client.pexpire(claim_key(run.run_id, "celery"), 20_000)
    one.renew()
    assert client.pttl(claim_key(mine.run_id, "celery")) > 20_000
    assert client.pttl(claim_key(lost.run_id, "celery")) <= 20_000


def test_releasing_gives_every_live_run_back(one: Claims, two: Claims) -> None:
    runs = [new_run() for _ in range(3)]
    for run in runs:
        one.claim(run)
    assert one.release() == 3
    assert all(two.claim(run).state is ClaimState.CLAIMED for run in runs)


def test_every_key_of_an_answer_expires(valkey: Valkey, one: Claims) -> None:
    run, client = new_run(), valkey.client()
    one.answer(one.claim(run), b"{}")
    assert client.pttl(done_key(run.run_id, "celery")) > 0
    assert client.ttl(run.reply_to) > 0
    assert not client.exists(claim_key(run.run_id, "celery"))


@pytest.mark.parametrize("ending", ["answer", "fault", "held", "answered"])
def test_a_legacy_payload_leaves_the_books_however_its_run_ends(valkey: Valkey, ending: str) -> None:
    client, payload = valkey.client(), f"payload-{next(NUMBERS)}".encode()
    client.delete(*BOOKS)
    worker = Claims(client, "legacy", "one", TERMS, BOOKS)
    other = Claims(client, "legacy", "two", TERMS, BOOKS)
    run = new_run(payload)
    taken_twice = ending in {"held", "answered"}
    if taken_twice:
        first = other.claim(run)
        if ending == "answered":
            other.answer(first, b"{}")
    client.rpush(BOOKS.processing, payload)
    client.zadd(BOOKS.leases, {payload: 1})
    client.hset(BOOKS.attempts, payload, "1:t:queue")
    claim = worker.claim(run)
    if ending == "answer":
        worker.answer(claim, b"{}")
    elif ending == "fault":
        worker.fault(claim, "no executor")
    assert client.exists(*BOOKS) == 0


def test_the_lease_of_a_payload_taken_twice_stays_until_the_last_copy_is_gone(valkey: Valkey) -> None:
    client, payload = valkey.client(), f"payload-{next(NUMBERS)}".encode()
    client.delete(*BOOKS)
    worker = Claims(client, "legacy", "one", TERMS, BOOKS)
    client.rpush(BOOKS.processing, payload, payload)
    client.zadd(BOOKS.leases, {payload: 1})
    run = new_run(payload)
    claim = worker.claim(run)
    assert worker.claim(run).state is ClaimState.HELD
    assert client.zscore(BOOKS.leases, payload) is not None
    worker.answer(claim, b"{}")
    assert client.exists(*BOOKS) == 0


def test_the_queue_lease_of_a_renewed_claim_outlives_the_claim(valkey: Valkey) -> None:
    client, payload = valkey.client(), f"payload-{next(NUMBERS)}".encode()
    worker = Claims(client, "legacy", "one", TERMS, BOOKS)
    run = new_run(payload)
    worker.claim(run)
    client.zadd(BOOKS.leases, {payload: 1})
    worker.renew()
    lease_ends = cast("float", client.zscore(BOOKS.leases, payload))
    assert lease_ends > cast("int", client.pexpiretime(claim_key(run.run_id, "legacy")))


def test_a_report_says_in_milliseconds_when_the_run_was_taken_and_when_it_ended(
    valkey: Valkey, one: Claims
) -> None:
    client, run = valkey.client(), new_run()

    def now_ms() -> int:
        seconds, microseconds = cast("tuple[int, int]", client.time())
        return seconds * 1000 + microseconds // 1000

    before = now_ms()
    one.answer(one.claim(run), b"{}")
    (fields,) = entries(client, run)
    assert before <= int(fields[b"taken_at"]) <= int(fields[b"finished_at"]) <= now_ms()


class OneRunManyWorkers(RuleBasedStateMachine):
    """Any order of claims, expiries, answers and faults by three workers on one run."""

    server: Valkey

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.workers = [Claims(self.client, "legacy", name, TERMS) for name in "abc"]
        self.claims: dict[int, Claim] = {}
        self.answered_by: int | None = None
        self.holder: int | None = None

    @initialize()
    def a_new_run(self) -> None:
        self.run = new_run()

    @rule(worker=st.integers(0, 2))
    def claim(self, worker: int) -> None:
        claim = self.workers[worker].claim(self.run)
        if self.answered_by is not None:
            assert claim.state is ClaimState.ANSWERED
        elif self.holder is not None:
            assert claim.state is ClaimState.HELD
        else:
            assert claim.state is ClaimState.CLAIMED
            self.holder, self.claims[worker] = worker, claim

    @rule()
    def claim_expires(self) -> None:
        self.client.delete(claim_key(self.run.run_id, "legacy"))
        self.holder = None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), fault=st.booleans())
    def end(self, data: st.DataObject, *, fault: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.claims)))
        claim = self.claims.pop(worker)
        if fault:
            told = self.workers[worker].fault(claim, "no executor")
            assert told == (self.answered_by is None and self.holder in {None, worker})
        else:
            won = self.workers[worker].answer(claim, str(worker).encode())
            assert won == (self.answered_by is None)
            self.answered_by = worker if won else self.answered_by
        self.holder = None if self.holder == worker else self.holder

    @invariant()
    def there_is_one_answer_at_most_and_it_is_the_first(self) -> None:
        told = entries(self.client, self.run)
        answers = [fields[b"observation"] for fields in told if fields[b"kind"] == b"answer"]
        assert answers == ([] if self.answered_by is None else [str(self.answered_by).encode()])

    def teardown(self) -> None:
        self.client.close()


def test_no_order_of_events_gives_two_answers(valkey: Valkey) -> None:
    class OnThisServer(OneRunManyWorkers):
        server = valkey

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_an_answer_is_told_again_to_whoever_took_the_run_over(
    valkey: Valkey, one: Claims, two: Claims
) -> None:
    run = new_run()
    one.answer(one.claim(run), b'{"outcome":"ok"}')
    taken_over = replace(run, reply_to=f"{run.reply_to}-successor")

    assert two.claim(taken_over).state is ClaimState.ANSWERED
    assert two.claim(taken_over).state is ClaimState.ANSWERED, "a second delivery of the same message"

    client = valkey.client()
    assert entries(client, taken_over) == entries(client, run)
    assert len(entries(client, run)) == 1


async def test_an_answer_that_is_in_the_ledger_is_told_to_nobody_any_more(
    valkey: Valkey, one: Claims
) -> None:
    run = new_run()
    one.answer(one.claim(run), b'{"outcome":"ok"}')
    reader = ReplyReader(valkey.url, run.reply_to)
    await reader.forget([run.run_id, "never-sent.0"])
    await reader.aclose()
    taken_over = replace(run, reply_to=f"{run.reply_to}-successor")

    assert one.claim(taken_over).state is ClaimState.ANSWERED

    client = valkey.client()
    assert entries(client, taken_over) == []
    assert 0 < cast("int", client.pttl(done_key(run.run_id, "celery"))) <= TERMS.result_ttl_ms
    assert client.get(done_key("never-sent.0", "celery")) is None
