"""Asks legs for observations and waits: deadlines, resends and missing answers, for one flow host.

No setting of either queue makes it lossless, so the one who asked keeps the books: what has no answer
is sent again under the same run id (claims make that harmless), and what gets none in time is given up
with a reason.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from opentelemetry.trace import SpanContext
from pydantic import ValidationError

from crucible.errors import ServiceUnavailable
from crucible.models import LEGS, Leg, Observation, Outcome
from crucible.settings import FlowSettings
from tasks.background import BackgroundService, BackgroundServices
from tasks.cancellation import Cancellations, Withdrawal, see_through
from tasks.dispatch import Dispatch, LegClient, enqueuing
from tasks.flow_metrics import count_answer, count_reply
from tasks.replies import Reply, ReplyReader


class Answer(NamedTuple):
    """What became of one run: the observation, or the reason why there is none, or that it was cancelled.

    ``waited_s`` is what passed from asking to the answer beside the worker's own time: queue and transport.
    ``finished_ms`` is when the worker reported, in ms since 1970 by its clock.
    """

    run_id: str
    observation: Observation | None
    reason: str | None = None
    waited_s: float | None = None
    cancelled: bool = False
    finished_ms: int | None = None


OnAnswer = Callable[[Answer], None]
"""Called once for each run."""

_READER, _WATCH, _LISTENER = "reply reader", "run deadlines", "cancellation listener"
_BOUND_S = 15.0
_WATCH_EVERY_S = 1.0
_BUSY_FROM = 50
_REST_S = 0.1
_MOST_DOUBLINGS = 4
_LONGEST_PAUSE_S = 60.0
_OVERTAKEN_BY = 64
"""How many later runs a leg must have answered before an unanswered one looks lost rather than slow."""


@dataclass(slots=True)
class _Waiting:
    dispatch: Dispatch
    asked: "_Asked"
    order: int
    asked_at: float
    sent_at: float
    resent: int = 0
    faults: int = 0


@dataclass(slots=True)
class _Asked:
    """One call of ``ask``: how many of its runs are still open."""

    on_answer: OnAnswer
    open: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None


@dataclass(slots=True)
class _LegState:
    client: LegClient
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    sent: dict[str, SpanContext] = field(default_factory=dict)
    """The span of the last time that each traced run was sent."""
    heard_at: float = 0.0
    last_answer_at: float = 0.0
    last_fault: str = ""
    newest_answered: int = 0

    def waiting_of(self, ids: Collection[str]) -> list[str]:
        """The runs waited for that are among ``ids``, or whose evaluation is."""
        return [each for each in self.waiting if each in ids or each.rpartition(".")[0] in ids]

    def finish(self, waiting: _Waiting) -> None:
        """Wait for this run no more."""
        del self.waiting[waiting.dispatch.run_id]
        waiting.asked.open -= 1
        if not waiting.asked.open:
            waiting.asked.done.set()

    def forget(self, asked: _Asked, dispatches: Iterable[Dispatch]) -> list[str]:
        """Forget what ``asked`` has sent, but what was asked for anew; returns what it still waited for."""
        open_ids = []
        for run_id in (each.run_id for each in dispatches):
            waiting = self.waiting.get(run_id)
            if waiting is not None and waiting.asked is not asked:
                continue
            self.sent.pop(run_id, None)
            if self.waiting.pop(run_id, None):
                open_ids.append(run_id)
        return open_ids

    def unanswered_s(self, waiting: _Waiting, now: float) -> float:
        """Seconds for which ``waiting`` has seen this leg answer nothing at all; a fault is no answer."""
        return now - max(waiting.asked_at, self.last_answer_at)

    def why_given_up(self, waiting: _Waiting, now: float) -> str:
        """The reason to give when that has been too long."""
        last = f"; its last fault: {self.last_fault}" if self.last_fault else ""
        return f"no answer from the {self.client.leg} leg in {self.unanswered_s(waiting, now):.0f} s{last}"


@dataclass
class Tally:
    """What went on beside the plain way: runs sent again, and answers that came too late or twice."""

    resent: int = 0
    dropped: int = 0


class Exchange:
    """The only one in its process that reads the reply stream and knows what is awaited."""

    def __init__(
        self,
        clients: Sequence[LegClient],
        reader: ReplyReader,
        cancellations: Cancellations,
        settings: FlowSettings,
    ) -> None:
        self._legs: Mapping[Leg, _LegState] = {client.leg: _LegState(client) for client in clients}
        self._reader = reader
        self._cancellations = cancellations
        self._withdrawal = Withdrawal({client.leg: client for client in clients}, cancellations)
        self._leaving = False
        self._settings = settings
        self._sent = 0
        self._background: BackgroundServices | None = None
        self._unread: deque[Reply] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()
        self.tally = Tally()
        self.on_cancelled: Callable[[Collection[str]], None] = _nobody
        """Called with the ids of each request to cancel, of runs, evaluations and sweeps, also others'."""

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` read replies and watch deadlines from now on."""
        self._background = background
        background.keep(_READER, self._read, bound_s=_BOUND_S)
        background.every(_WATCH_EVERY_S, _WATCH, self._watch)
        background.every(0, _LISTENER, self._hear)

    async def close(self) -> None:
        """Stop reading and close the legs' connections."""
        if self._background is not None:
            for name in (_READER, _WATCH, _LISTENER):
                await self._background.end(name)
        for sending in self._sending:
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for leg in LEGS:
            await self._legs[leg].client.aclose()
        await self._reader.aclose()
        await self._cancellations.aclose()

    @property
    def is_busy(self) -> bool:
        """Whether so much is awaited that gathering it costs nobody time."""
        return sum(len(state.waiting) for state in self._legs.values()) >= _BUSY_FROM

    async def ask(self, leg: Leg, dispatches: Sequence[Dispatch], on_answer: OnAnswer) -> None:
        """Send ``dispatches`` to ``leg`` and return once each has its answer or was given up.

        A queue that cannot be reached is tried again like everything else that stays unanswered. What was
        cancelled is not sent. When ``ask`` itself is cancelled, so are the runs it has sent, unless ``leave``
        was called: their queue is freed and their programs are ended before it returns, within seconds.
        """
        state = self._legs[leg]
        asked = _Asked(on_answer, len(dispatches))
        now = time.monotonic()
        for dispatch in dispatches:
            self._sent += 1
            state.waiting[dispatch.run_id] = _Waiting(dispatch, asked, self._sent, now, now)
        sending = asyncio.create_task(self._send_wanted(state, dispatches))
        self._keep(sending)
        try:
            await asyncio.shield(sending)
            if asked.open:
                await asked.done.wait()
            if asked.failure is not None:
                raise asked.failure
        except asyncio.CancelledError:
            open_ids = state.forget(asked, dispatches)
            if not self._leaving:
                await see_through(self._withdrawal.of_runs(leg, open_ids, sending))
            raise
        finally:
            state.forget(asked, dispatches)

    def abandon(self, leg: Leg, run_ids: Iterable[str]) -> None:
        """Wait for these runs no more: their ``ask`` returns without an answer for them.

        Nothing is cancelled: they run on, and whoever asks for them again finds what was answered.
        """
        state = self._legs[leg]
        for run_id in run_ids:
            if waiting := state.waiting.get(run_id):
                state.finish(waiting)

    async def cancel(self, evaluation_ids: Collection[str]) -> None:
        """Cancel all runs of these evaluations on both legs, for good, whichever process has asked for them.

        Everything that waits in a queue is withdrawn and programs are ended before it returns. Raises
        ``ServiceUnavailable`` when Redis cannot be told; nothing was cancelled then.
        """
        first = (f"{each}.0" for each in evaluation_ids)
        here = (each for state in self._legs.values() for each in state.waiting_of(set(evaluation_ids)))
        await self._withdrawal.of_evaluations(evaluation_ids, list({*first, *here}))

    async def forget(self, run_ids: Collection[str]) -> None:
        """Drop the answers that Redis keeps of runs whose answers are durable elsewhere by now."""
        with contextlib.suppress(ServiceUnavailable):  # they expire by themselves
            await self._reader.forget(run_ids)

    def leave(self) -> None:
        """From now on what was sent is left alone when its ``ask`` is cancelled: this process only ends."""
        self._leaving = True

    async def _hear(self) -> None:
        """Give up waiting for what anybody has cancelled."""
        states = self._legs.values()
        ids = await self._cancellations.marked_since(lambda: [run for each in states for run in each.waiting])
        for state in states:
            self._finish_cancelled(state, state.waiting_of(ids))
        if ids:
            self.on_cancelled(ids)

    def _finish_cancelled(self, state: _LegState, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            if waiting := state.waiting.get(run_id):
                self._finish(state, waiting, Answer(run_id, None, "cancelled", cancelled=True))

    async def _send_wanted(self, state: _LegState, dispatches: Sequence[Dispatch]) -> None:
        """Send what nobody has cancelled before."""
        cancelled: set[str] = set()
        with contextlib.suppress(ServiceUnavailable):  # workers look as well
            cancelled = await self._cancellations.marked([each.run_id for each in dispatches])
        self._finish_cancelled(state, cancelled)
        if wanted := [each for each in dispatches if each.run_id not in cancelled]:
            await self._send(state, wanted)

    async def _read(self, service: BackgroundService) -> None:
        while True:
            while self._unread:  # also what an error has left
                self._receive(self._unread.popleft())
            self._unread.extend(await self._reader.read())
            service.round_done()
            if self.is_busy:  # nobody waits for a single one of so many; more come in one read
                await asyncio.sleep(_REST_S)

    def _receive(self, reply: Reply) -> None:
        state = self._legs[reply.leg]
        state.heard_at = time.monotonic()
        count_reply(reply.leg, reply.finished_at)
        waiting = state.waiting.get(reply.run_id)
        if waiting is None:
            self.tally.dropped += 1
        elif reply.observation is None:
            self._receive_fault(state, waiting, reply.fault or "no reason given")
        else:
            self._receive_answer(state, waiting, reply, reply.observation)

    def _receive_answer(self, state: _LegState, waiting: _Waiting, reply: Reply, observation: bytes) -> None:
        state.last_answer_at = state.heard_at
        state.newest_answered = max(state.newest_answered, waiting.order)
        try:
            seen = Observation.model_validate_json(observation)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            self._receive_fault(state, waiting, f"{reply.worker} sent what is no observation: {problem}")
            return
        if seen.outcome is Outcome.CANCELLED:
            self._finish_cancelled(state, [reply.run_id])
            return
        worked_s = (reply.finished_at - reply.taken_at) / 1000
        waited_s = max(0.0, state.heard_at - waiting.asked_at - worked_s)
        count_answer(reply.leg, seen, state.heard_at - waiting.asked_at)
        found = seen.model_copy(update={"leg": reply.leg})
        answer = Answer(reply.run_id, found, waited_s=waited_s, finished_ms=reply.finished_at)
        self._finish(state, waiting, answer)

    def _receive_fault(self, state: _LegState, waiting: _Waiting, reason: str) -> None:
        waiting.faults += 1
        state.last_fault = reason
        self._log.warning("fault", leg=state.client.leg, run_id=waiting.dispatch.run_id, reason=reason)
        if waiting.faults >= self._settings.max_faults:
            why = f"{reason} ({waiting.faults} attempts)"
            self._finish(state, waiting, Answer(waiting.dispatch.run_id, None, why))
        else:
            self._resend_later(state, [waiting], pause_after_fault_s(waiting.faults))

    def _finish(self, state: _LegState, waiting: _Waiting, answer: Answer) -> None:
        state.finish(waiting)
        try:
            waiting.asked.on_answer(answer)
        except Exception as error:  # noqa: BLE001 (a defect in one call's hands ends that call, and no other)
            waiting.asked.failure = error
            waiting.asked.done.set()

    async def _watch(self) -> None:
        for state in self._legs.values():
            await self._look_after(state)

    async def _look_after(self, state: _LegState) -> None:
        now, stall_s = time.monotonic(), self._settings.stall_s
        late = {
            run_id: each
            for run_id, each in state.waiting.items()
            if self._looks_lost(state, each, now) or state.unanswered_s(each, now) >= stall_s
        }
        if not late:
            return
        alive = await self._reader.claims_alive(late, state.client.leg)
        # A leg whose programs may run so long has not stalled before they had their time.
        stall_s += max((late[run_id].dispatch.evaluation.limits.wall_s for run_id in alive), default=0)
        settled = await self._reader.forgotten([each for each in late if each not in alive], state.client.leg)
        unclaimed = [each for key, each in late.items() if key not in alive and key in state.waiting]
        again = []
        for each in unclaimed:
            if each.dispatch.run_id in settled:
                self._finish(state, each, Answer(each.dispatch.run_id, None, "settled by another process"))
            elif state.unanswered_s(each, now) >= stall_s:
                self._finish(state, each, Answer(each.dispatch.run_id, None, state.why_given_up(each, now)))
            elif self._looks_lost(state, each, now):
                again.append(each)
        if again:
            self._resend_later(state, again, delay_s=0)

    def _looks_lost(self, state: _LegState, waiting: _Waiting, now: float) -> bool:
        """Sent long ago, and either overtaken by many sent later or on a leg that has fallen silent."""
        # Twice as long each time: what only waits must not fill its queue with copies.
        patience_s = self._settings.resend_after_s * 2 ** min(waiting.resent, _MOST_DOUBLINGS)
        overtaken = state.newest_answered - waiting.order > _OVERTAKEN_BY
        silent = now - state.heard_at > patience_s
        return now - waiting.sent_at > patience_s and (overtaken or silent)

    def _resend_later(self, state: _LegState, waiting: Iterable[_Waiting], delay_s: float) -> None:
        self._keep(asyncio.create_task(self._resend(state, list(waiting), delay_s)))

    def _keep(self, sending: asyncio.Task[None]) -> None:
        self._sending.add(sending)
        sending.add_done_callback(self._note_end)

    def _note_end(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled() and (error := sending.exception()):
            self._log.error("not sent; deadlines are watched", exc_info=error)

    async def _resend(self, state: _LegState, waiting: list[_Waiting], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        still = [each for each in waiting if each.dispatch.run_id in state.waiting]
        if not still:
            return
        self.tally.resent += len(still)
        now = time.monotonic()
        for each in still:
            each.sent_at = now
            each.resent += 1
        await self._send(state, [each.dispatch for each in still])

    async def _send(self, state: _LegState, dispatches: Sequence[Dispatch]) -> None:
        try:
            with enqueuing(state.client.leg, dispatches, state.sent):
                await state.client.send(dispatches)
        except ServiceUnavailable as error:
            self._log.warning("send_failed", leg=state.client.leg, reason=str(error))


def pause_after_fault_s(faults: int) -> float:
    """Seconds from the latest of so many faults of a run until it is sent again: 2, 8, 26, then a minute.

    With little traffic no breaker opens, and these pauses alone outlast the restart of an executor.
    """
    return min(3.0 ** min(faults, 4) - 1, _LONGEST_PAUSE_S)


def _nobody(_ids: Collection[str]) -> None:
    """Nobody listens."""
