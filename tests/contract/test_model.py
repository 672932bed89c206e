"""Whatever order things happen in, no run is lost, none is reported twice, and no book keeps an entry.

And each guard in the scripts is needed for that: without it the same test finds an order in which that fails.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, ParamSpec

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks import scripts
from tests.support.platform_model import Platform, Violation, Worker
from tests.support.sender_model import Asked, Senders
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

P = ParamSpec("P")

_RUNS = 3
_HOSTS = 3
_ROUNDS = 12

Pick = st.integers(0, 11)
"""Chooses among what there is at the time, by its remainder."""


class Legs(RuleBasedStateMachine):
    """Runs, workers, senders, and everything that can happen to them."""

    server: Valkey

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.platform = Platform(self.client)
        self.senders = Senders(self.platform)
        self.sound = True

    # What senders do.

    @precondition(lambda self: len(self.senders.asked) < _RUNS)
    @rule()
    def send(self) -> None:
        self.senders.send(f"ev-{len(self.senders.asked)}.0")

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick, how=st.sampled_from(["again", "again", "taken over", "cancelled", "withdrawn"]))
    def send_again(self, pick: int, how: str) -> None:
        asked = self.asked(pick)
        if how == "again":
            for leg in self.senders.open_legs(asked):
                self.senders.send_again(asked, leg)
        elif how == "taken over":
            if not asked.times_settled and asked.host + 1 < _HOSTS:
                self.senders.take_over(asked)
        elif not asked.times_settled:
            self.senders.cancel(asked, asked.run_id if pick % 2 else asked.run_id.rpartition(".")[0])
        if how == "withdrawn" and asked.run_id in self.senders.cancelled:
            self.platform.withdraw(asked.run_id)

    @precondition(lambda self: self.senders.asked)
    @rule(host=st.integers(0, _HOSTS - 1), how=st.sampled_from(["", "again", "lost"]), settles=st.booleans())
    def read(self, host: int, how: str, *, settles: bool) -> None:
        if how == "lost":
            self.senders.lose_replies(host)
        self.senders.read(host, again=how == "again")
        if settles:
            for asked in self.senders.asked.values():
                self.senders.settle(asked)

    # What workers do.

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick, dies=st.booleans())
    def take(self, pick: int, *, dies: bool) -> None:
        self.platform.take(self.worker(pick))
        if dies:
            self.platform.die(self.worker(pick))

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick)
    def take_and_claim_on_legacy(self, pick: int) -> None:
        self.take_and_claim(self.platform.workers[pick % 2])

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick)
    def take_and_claim_on_celery(self, pick: int) -> None:
        self.take_and_claim(self.platform.workers[2 + pick % 2])

    @precondition(lambda self: any(worker.taken for worker in self.platform.workers))
    @rule(pick=Pick, dies=st.booleans())
    def claim_taken(self, pick: int, *, dies: bool) -> None:
        workers = [worker for worker in self.platform.workers if worker.taken]
        self.checked(self.platform.claim, workers[pick % len(workers)], dies=dies)

    @precondition(lambda self: any(worker.running for worker in self.platform.workers))
    @rule(pick=Pick, place=Pick)
    def answer(self, pick: int, place: int) -> None:
        self.report(self.platform.complete, pick, place)

    @precondition(lambda self: any(worker.running for worker in self.platform.workers))
    @rule(pick=Pick, place=Pick)
    def fault(self, pick: int, place: int) -> None:
        self.report(self.platform.fault, pick, place)

    @precondition(lambda self: any(worker.running for worker in self.platform.workers))
    @rule()
    def all_answer(self) -> None:
        for worker in self.platform.workers:
            while worker.running:
                self.checked(self.platform.complete, worker, 0)

    @precondition(lambda self: any(worker.running or worker.taken for worker in self.platform.workers))
    @rule(pick=Pick, how=st.sampled_from(["dies", "is stopped", "renews"]))
    def goes_on(self, pick: int, how: str) -> None:
        workers = [worker for worker in self.platform.workers if worker.running or worker.taken]
        platform = self.platform
        step = {"dies": platform.die, "is stopped": platform.release, "renews": platform.renew}[how]
        step(workers[pick % len(workers)])

    # What time and Celery do.

    @precondition(lambda self: self.platform.holders)
    @rule(pick=Pick)
    def claim_ends(self, pick: int) -> None:
        held = sorted(self.platform.holders)
        self.platform.lease_ends(held[pick % len(held)])

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick, dies=st.booleans())
    def queue_lease_ends(self, pick: int, *, dies: bool) -> None:
        self.platform.queue_lease_ends(pick)
        self.checked(self.platform.reap, self.platform.workers[pick % 2], dies=dies)

    @precondition(lambda self: self.senders.asked)
    @rule(pick=Pick, lost=st.sampled_from([False, False, False, True]))
    def celery_delivers_again(self, pick: int, *, lost: bool) -> None:
        if lost:
            self.platform.lose_message()
        else:
            self.platform.deliver_again(pick)

    @precondition(lambda self: self.platform.holders)
    @rule()
    def all_stand_still(self) -> None:
        """Until everything they have was given to others; then they go on."""
        for key in sorted(self.platform.holders):
            self.platform.lease_ends(key)
        for place in range(_RUNS):
            self.platform.queue_lease_ends(place)
            self.platform.deliver_again(0)
        self.checked(self.platform.reap, self.platform.workers[0])

    # What is to hold.

    @invariant()
    def what_is_told_is_the_first_answer(self) -> None:
        self.checked(self.senders.check_told)

    def teardown(self) -> None:
        try:
            if self.sound:
                self.close()
        finally:
            self.client.close()

    def close(self) -> None:
        """Everything dead is noticed, sent again and run, until nothing happens any more."""
        for _ in range(_ROUNDS):
            self.one_round()
            if self.platform.is_idle() and all(each.times_settled for each in self.senders.asked.values()):
                break
        lost = [each.run_id for each in self.senders.asked.values() if each.times_settled != 1]
        if lost:
            raise Violation(f"{lost} were sent and never heard of again")
        if not self.platform.is_idle():
            raise Violation("what nobody waits for is still on its way")

    def one_round(self) -> None:
        self.platform.end_all_leases()
        self.platform.reap(self.platform.workers[0])
        for asked in self.senders.asked.values():
            for leg in self.senders.open_legs(asked):
                self.senders.send_again(asked, leg)
        for worker in self.platform.workers:
            self.work_off(worker)
        self.platform.check_books()
        for host in range(_HOSTS):
            self.senders.read(host)
        for asked in self.senders.asked.values():
            self.senders.settle(asked)
        self.senders.check_told()

    def work_off(self, worker: Worker) -> None:
        self.platform.take(worker)
        while worker.taken:
            self.platform.claim(worker)
            if worker.running:
                self.platform.complete(worker, 0)
            self.platform.take(worker)

    def take_and_claim(self, worker: Worker) -> None:
        self.platform.take(worker)
        if worker.taken:
            self.checked(self.platform.claim, worker)

    def report(self, end: Callable[[Worker, int], None], pick: int, place: int) -> None:
        workers = [worker for worker in self.platform.workers if worker.running]
        worker = workers[pick % len(workers)]
        self.checked(end, worker, place % len(worker.running))

    def checked(self, step: Callable[P, None], *given: P.args, **named: P.kwargs) -> None:
        try:
            step(*given, **named)
        except Violation:
            self.sound = False  # what comes after that would only cover it up
            raise

    def asked(self, pick: int) -> Asked:
        return list(self.senders.asked.values())[pick % len(self.senders.asked)]

    def worker(self, pick: int) -> Worker:
        return self.platform.workers[pick % len(self.platform.workers)]


def drive(server: Valkey, examples: int) -> None:
    """Drives the machine in as many orders, the same ones each time; stops at the first violation."""

    class OnThisServer(Legs):
        pass

    OnThisServer.server = server
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_is_lost_and_nothing_is_told_twice(valkey: Valkey) -> None:
    drive(valkey, 200)


class Mutant(NamedTuple):
    """A script without one of its guards."""

    script: str
    guard: str
    instead: str


MUTANTS = {
    "a second answer is recorded": Mutant("complete", "= redis.call('EXISTS', done) == 1", "= false"),
    "an answered run is claimed": Mutant("claim", "if answer then", "if false then"),
    "an answer is not told to who took over": Mutant("claim", "if kept and (", "if kept and false and ("),
    "an answer that was lost is not told again": Mutant(
        "claim", "#redis.call('XRANGE', replies, kept.entry, kept.entry) == 0", "false"
    ),
    "a held run is claimed": Mutant("claim", "token, 'NX', 'PX'", "token, 'PX'"),
    "a cancelled run is claimed": Mutant(
        "claim", "EXISTS', run_mark, evaluation_mark) > 0", "EXISTS', run_mark, evaluation_mark) > 2"
    ),
    "the mark of an evaluation is overlooked": Mutant(
        "claim", "run_mark, evaluation_mark) > 0", "run_mark, run_mark .. evaluation_mark) > 0"
    ),
    "what is held stays in the books": Mutant(
        "claim", "if state ~= 'claimed' and books", "if false and books"
    ),
    "what was reported stays in the books": Mutant("complete", "settle(books, payload)", "local _ = payload"),
    "what was reaped stays in processing": Mutant(
        "reap", "redis.call('LREM', books.processing, 0, payload)", ""
    ),
    "what was answered is made a dead letter": Mutant(
        "reap", "redis.call('EXISTS', done_format:format(id)) == 1", "done_format == ''"
    ),
    "what is taken has no lease": Mutant(
        "take", "redis.call('ZADD', books.leases, now_ms() + lease_ms, payload)", "local _ = lease_ms"
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_without_one_guard_it_is_not_so(valkey: Valkey, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutant, original = MUTANTS[name], scripts.source

    @cache
    def mutated(script: str) -> str:
        text = original(script)
        if script != mutant.script:
            return text
        assert text.count(mutant.guard) == 1, f"{script}.lua has changed; this mutant is none any more"
        return text.replace(mutant.guard, mutant.instead)

    monkeypatch.setattr(scripts, "source", mutated)
    with pytest.raises(Violation):
        drive(valkey, 1000)
