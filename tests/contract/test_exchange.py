"""The books of a flow host: every run that was asked ends in an answer or a reason, whatever the legs do.

The reply stream and the claims are in a real Valkey. The legs are scripted, since what matters here is
what a leg does wrong.
"""

import asyncio
from uuid import uuid4

import pytest

from crucible.errors import ServiceUnavailable
from crucible.models import Evaluation, Observation
from crucible.settings import BreakerSettings, FlowSettings
from tasks.dispatch import Dispatch
from tasks.exchange import Answer, pause_after_fault_s
from tests.support.scripted_leg import ScriptedLeg, exchange
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

PATIENT = FlowSettings(stall_s=600, resend_after_s=600)
HASTY = FlowSettings(stall_s=600, resend_after_s=0.1)


class Answers:
    """What an exchange reported, by run id."""

    def __init__(self) -> None:
        self.seen: dict[str, Observation | None] = {}
        self.reasons: dict[str, str | None] = {}

    def __call__(self, answer: Answer) -> None:
        assert answer.run_id not in self.seen, "reported twice"
        self.seen[answer.run_id], self.reasons[answer.run_id] = answer.observation, answer.reason


def dispatches(number: int) -> list[Dispatch]:
    evaluation = Evaluation(id="e", language="python", code="")
    return [Dispatch(f"{uuid4().hex}.0", evaluation, "") for _ in range(number)]


async def test_every_run_gets_its_answer(valkey: Valkey) -> None:
    asked, answers = dispatches(50), Answers()
    async with exchange(valkey, lambda leg, run_id, _: leg.answer(run_id), PATIENT) as (opened, _):
        await opened.ask("legacy", asked, answers)
    assert set(answers.seen) == {each.run_id for each in asked}
    assert all(seen is not None and seen.leg == "legacy" for seen in answers.seen.values())
    assert opened.tally.resent == 0


async def test_an_answer_that_comes_twice_is_reported_once_and_counted(valkey: Valkey) -> None:
    def twice(leg: ScriptedLeg, run_id: str, _: int) -> None:
        leg.answer(run_id)
        leg.answer(run_id)

    answers = Answers()
    async with exchange(valkey, twice, PATIENT) as (opened, _):
        await opened.ask("legacy", dispatches(1), answers)
        async with asyncio.timeout(30):
            while opened.tally.dropped == 0:  # noqa: ASYNC110 (the second copy is on its way)
                await asyncio.sleep(0.01)
    assert len(answers.seen) == 1


async def test_a_fault_is_answered_by_sending_again(valkey: Valkey) -> None:
    def fails_once(leg: ScriptedLeg, run_id: str, sent: int) -> None:
        (leg.fault if sent == 1 else leg.answer)(run_id)

    (asked,), answers = dispatches(1), Answers()
    async with exchange(valkey, fails_once, PATIENT) as (opened, leg):
        await opened.ask("legacy", [asked], answers)
    assert answers.seen[asked.run_id] is not None
    assert leg.sent[asked.run_id] == 2


async def test_a_run_is_sent_again_when_a_breaker_that_its_faults_met_has_let_a_probe_pass() -> None:
    pauses = [pause_after_fault_s(faults) for faults in range(1, FlowSettings().max_faults)]
    assert pauses[-1] > BreakerSettings().open_s
    assert [pause_after_fault_s(faults) for faults in (4, 5, 1000)] == [60] * 3


async def test_after_enough_faults_a_run_is_given_up_with_the_reason(valkey: Valkey) -> None:
    (asked,), answers = dispatches(1), Answers()
    settings = PATIENT.model_copy(update={"max_faults": 2})
    async with exchange(valkey, lambda leg, run_id, _: leg.fault(run_id), settings) as (opened, leg):
        await opened.ask("legacy", [asked], answers)
    assert answers.seen[asked.run_id] is None
    assert answers.reasons[asked.run_id] == "executor-3 is away (2 attempts)"
    assert leg.sent[asked.run_id] == 2


async def test_who_was_taken_for_dead_learns_that_others_have_settled_what_it_waits_for(
    valkey: Valkey,
) -> None:
    def tells_another(leg: ScriptedLeg, run_id: str, _: int) -> None:
        leg.note_answered(run_id, "")

    (asked,), answers = dispatches(1), Answers()
    async with exchange(valkey, tells_another, HASTY) as (opened, _):
        await opened.ask("legacy", [asked], answers)
    assert answers.seen == {asked.run_id: None}
    assert "settled by another process" in str(answers.reasons[asked.run_id])


async def test_an_answer_that_is_kept_for_whoever_asks_is_waited_for(valkey: Valkey) -> None:
    def is_on_its_way(leg: ScriptedLeg, run_id: str, sent: int) -> None:
        leg.note_answered(run_id, "{}")
        if sent > 1:
            leg.answer(run_id)

    (asked,), answers = dispatches(1), Answers()
    async with exchange(valkey, is_on_its_way, HASTY) as (opened, _):
        await opened.ask("legacy", [asked], answers)
    assert answers.seen[asked.run_id] is not None


async def test_a_message_that_was_lost_is_sent_again(valkey: Valkey) -> None:
    def loses_the_first(leg: ScriptedLeg, run_id: str, sent: int) -> None:
        if sent > 1:
            leg.answer(run_id)

    asked, answers = dispatches(5), Answers()
    async with exchange(valkey, loses_the_first, HASTY) as (opened, _):
        await opened.ask("legacy", asked, answers)
    assert all(seen is not None for seen in answers.seen.values())
    assert opened.tally.resent == 5


async def test_a_run_that_a_worker_has_claimed_is_waited_for(valkey: Valkey) -> None:
    claimed = dispatches(1)[0]
    lost = dispatches(1)[0]

    def script(leg: ScriptedLeg, run_id: str, sent: int) -> None:
        if run_id == claimed.run_id:
            leg.claim(run_id)
        elif sent == 3:
            leg.release(claimed.run_id)
            leg.answer(claimed.run_id)
            leg.answer(lost.run_id)

    answers = Answers()
    async with exchange(valkey, script, HASTY) as (opened, leg):
        await opened.ask("legacy", [claimed, lost], answers)
    assert leg.sent[claimed.run_id] == 1, "sent again although a worker had it"
    assert len(answers.seen) == 2


async def test_a_leg_that_says_nothing_is_given_up_with_the_reason(valkey: Valkey) -> None:
    settings = FlowSettings(stall_s=0.5, resend_after_s=0.1)
    asked, answers = dispatches(3), Answers()
    async with exchange(valkey, lambda *_: None, settings) as (opened, _):
        await opened.ask("legacy", asked, answers)
    assert set(answers.seen.values()) == {None}
    assert all("no answer from the legacy leg" in str(reason) for reason in answers.reasons.values())


async def test_a_leg_that_gives_nothing_but_faults_is_given_up_with_the_last_one(valkey: Valkey) -> None:
    settings = FlowSettings(stall_s=2, resend_after_s=600, max_faults=1000)
    asked, answers = dispatches(3), Answers()

    def script(leg: ScriptedLeg, run_id: str, _: int) -> None:
        leg.fault(asked[0].run_id)

    async with exchange(valkey, script, settings) as (opened, _):
        await opened.ask("legacy", asked, answers)
    assert set(answers.seen.values()) == {None}
    assert all(
        str(reason).endswith("its last fault: executor-3 is away") for reason in answers.reasons.values()
    )


async def test_a_leg_whose_programs_may_run_long_is_given_that_time(valkey: Valkey) -> None:
    settings = FlowSettings(stall_s=0.5, resend_after_s=600)
    long = Evaluation.model_validate(
        {"id": "long", "language": "python", "code": "", "limits": {"wall_s": 600}}
    )
    claimed, queued = (Dispatch(f"{uuid4().hex}.0", long, "") for _ in range(2))
    answers = Answers()

    def script(leg: ScriptedLeg, run_id: str, _: int) -> None:
        if run_id == claimed.run_id:
            leg.claim(run_id)

    async with exchange(valkey, script, settings) as (opened, leg):
        asking = asyncio.create_task(opened.ask("legacy", [claimed, queued], answers))
        await asyncio.sleep(4)  # several looks after the leg would have counted as stalled
        assert not answers.seen
        leg.answer(claimed.run_id)
        await eventually(lambda: claimed.run_id in answers.seen)
        leg.release(claimed.run_id)
        await asking
    assert answers.seen[claimed.run_id] is not None
    assert "no answer" in str(answers.reasons[queued.run_id])


async def test_a_queue_that_cannot_be_reached_is_tried_again(valkey: Valkey) -> None:
    def away_at_first(leg: ScriptedLeg, run_id: str, sent: int) -> None:
        if sent == 1:
            raise ServiceUnavailable("the legacy queue's Redis does not answer")
        leg.answer(run_id)

    answers = Answers()
    async with exchange(valkey, away_at_first, HASTY) as (opened, _):
        await opened.ask("legacy", dispatches(1), answers)
    assert None not in answers.seen.values()


async def test_what_is_abandoned_is_not_cancelled_and_is_answered_to_whoever_asks_next(
    valkey: Valkey,
) -> None:
    (asked,), first, second = dispatches(1), Answers(), Answers()
    async with exchange(valkey, lambda *_: None, PATIENT) as (opened, leg), asyncio.timeout(30):
        asking = asyncio.create_task(opened.ask("legacy", [asked], first))
        await asyncio.sleep(0)  # it is being sent, and will be
        opened.abandon("legacy", [asked.run_id])
        again = asyncio.create_task(opened.ask("legacy", [asked], second))
        await asking
        await eventually(lambda: leg.sent[asked.run_id] == 2)
        leg.answer(asked.run_id)
        await again
    assert not first.seen
    assert second.seen[asked.run_id] is not None
    assert not leg.withdrawn


async def test_one_who_stops_waiting_is_told_nothing_more(valkey: Valkey) -> None:
    asked, answers = dispatches(1), Answers()
    async with exchange(valkey, lambda *_: None, PATIENT) as (opened, leg):
        asking = asyncio.create_task(opened.ask("legacy", asked, answers))
        async with asyncio.timeout(30):
            while not leg.sent:  # noqa: ASYNC110 (the other one of this loop's two parties)
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        leg.answer(asked[0].run_id)
        async with asyncio.timeout(30):
            while not opened.tally.dropped:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not answers.seen
