"""The migration in the store: where it stands, what was counted, and every change of it."""

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import GateRefused, InputError, RolloutConflict
from crucible.models import Comparison, Observation
from crucible.rollout.assessment import Assessment, EpochInputs
from crucible.rollout.epoch import AuditEntry, Epoch, EpochKey
from crucible.rollout.stage import Rollout, RouteRule, Stage, back, changed, forward, into_epoch
from crucible.rollout.status import RolloutStatus, Step, detector_status, in_the_way, next_step, status
from crucible.store import rollout_state
from crucible.store.database import Database
from crucible.store.encoding import comparison_of, observation_values
from crucible.store.entries import NOISE_RUN
from crucible.store.queries import new_rows
from crucible.store.replay import Verification, assessed, verify
from crucible.store.rollout_inputs import (
    mismatches,
    random_reference,
    read_detectors,
    read_inputs,
    unconfirmed,
)
from crucible.store.rollout_state import Reason, State, newest_seq, read_epoch, read_state, write_state
from crucible.store.tables import observations
from crucible.store.tally import Moves


class Change(NamedTuple):
    """One change of the rollout; ``assessment`` is what the gates said, where they were asked."""

    before: Rollout
    after: Rollout
    assessment: Assessment | None = None


class Look(NamedTuple):
    """Everything at one moment: the state, its epoch, what was counted in it, and the last change."""

    state: State
    epoch: Epoch
    inputs: EpochInputs
    assessment: Assessment
    last: AuditEntry | None
    today: date

    def under(self, rules: tuple[RouteRule, ...]) -> "Look":
        """The same, assessed as if these rules were in force: those that somebody wants to put in force."""
        rollout = self.state.rollout.model_copy(update={"rules": rules})
        again = assessed(self.inputs, rollout, self.epoch, self.state.since_seq, self.today)
        return self._replace(assessment=again)


class RolloutStore:
    """The rollout's part of a store. Each change is made under a lock, by compare-and-set, and logged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> Rollout:
        """Where the migration stands."""
        async with self._database.read() as connection:
            return (await read_state(connection)).rollout

    async def look(self) -> Look:
        """Where the migration stands, and why it may or may not go on. Holds nobody up."""
        async with self._database.read() as connection:
            return await _seen(connection)

    async def status(self) -> RolloutStatus:
        """All that somebody needs to decide, in one document."""
        async with self._database.read() as connection:
            look = await _seen(connection)
            log_m = await read_detectors(connection, look.epoch.number)
        policy = look.epoch.key.policy
        step = next_step(look.state.rollout, policy)
        detector = detector_status(log_m, policy.alarm_at)
        return status(look.state.rollout, look.inputs, look.assessment, step, look.last, detector)

    async def history(self, limit: int | None = None) -> list[AuditEntry]:
        """The newest ``limit`` changes, the oldest of them first; all without a limit."""
        async with self._database.read() as connection:
            return await rollout_state.entries(connection, limit)

    async def epoch(self, number: int | None = None) -> Epoch:
        """The epoch of that number, which must be one there is; the present one without a number."""
        async with self._database.read() as connection:
            if number is None:
                number = (await read_state(connection)).rollout.epoch
            return await read_epoch(connection, number)

    async def advance(self, actor: str, reason: str, version: int | None = None) -> Change:
        """One step ahead.

        Raises ``GateRefused`` with the assessment when the evidence does not allow it, ``InputError`` after
        the last stage, and ``RolloutConflict`` when the rollout is not at ``version`` any more.
        """
        async with self._database.write() as connection:
            look = await _look(connection, version)
            before = look.state.rollout
            step = next_step(before, look.epoch.key.policy)
            if step is None:
                raise InputError(f"the stage is {before.stage}, the last one; there is nothing to advance to")
            _require_go(look, step, f"advance to {step.stage}")
            after = forward(before, step.stage, step.share, look.epoch.key.policy.sample)
            why = Reason(actor, "advance", reason, _grounds(look))
            await write_state(connection, before, after, why, look.inputs.seq)
            return Change(before, after, look.assessment)

    async def rollback(
        self, actor: str, reason: str, to: Stage = Stage.LEGACY, version: int | None = None
    ) -> Change:
        """Back to ``to`` at once, asking no gate; where it is there already, nothing is changed.

        Raises ``InputError`` when ``to`` is ahead.
        """
        async with self._database.write() as connection:
            before = await _locked(connection, version)
            if before.stage is to:
                return Change(before, before)
            after = back(before, to)
            why = Reason(actor, "rollback", reason, {})
            await write_state(connection, before, after, why, await newest_seq(connection))
            return Change(before, after)

    async def set(
        self,
        actor: str,
        reason: str,
        version: int | None = None,
        *,
        force: bool = False,
        new_epoch: bool = False,
        **changes: Any,
    ) -> Change:
        """Change fields of the rollout. What gives Celery more answers has to pass the gates, unless forced.

        Where all is so already, nothing is changed. Raises what ``advance`` raises, and ``InputError`` when
        nothing is named or a value does not fit.
        """
        if not changes and not new_epoch:
            raise InputError("nothing to set; name what is to change, as in --share 5")
        async with self._database.write() as connection:
            look = await _look(connection, version)
            before = look.state.rollout
            after = changed(before, **changes) if changes else before
            if new_epoch:
                key = look.epoch.key
                fresh = key.model_copy(update={"generation": key.generation + 1})
                number = await rollout_state.add_epoch(connection, fresh)
                after = into_epoch(after, number).model_copy(update={"version": before.version + 1})
            if after.model_copy(update={"version": before.version}) == before:
                return Change(before, before, look.assessment)
            look = look.under(after.rules)
            if _gives_more(before, after) and not force:
                step = Step(stage=after.stage, share=after.share)
                _require_go(look, step, "set this (--force does so without evidence)")
            grounds = {"forced": force, **(_grounds(look) if not force else {})}
            why = Reason(actor, "set", reason, grounds)
            await write_state(connection, before, after, why, look.inputs.seq)
            return Change(before, after, look.assessment)

    async def open_epoch(self, key: EpochKey, actor: str) -> Change | None:
        """Begin a new epoch unless the present one has the same key. Celery answers nothing at first."""
        async with self._database.write() as connection:
            before = await _locked(connection, None)
            present = (await read_epoch(connection, before.epoch)).key
            if present.is_same_as(key):
                return None
            differing = [
                name for name in EpochKey.model_fields if getattr(present, name) != getattr(key, name)
            ]
            number = await rollout_state.add_epoch(connection, key)
            after = into_epoch(before, number)
            why = Reason(actor, "epoch", f"changed: {', '.join(differing)}", {"changed": differing})
            await write_state(connection, before, after, why, await newest_seq(connection))
            return Change(before, after)

    async def count_noise(
        self, evaluation_id: str, again: Observation, epoch: int, *, only_celery: bool, only_legacy: bool
    ) -> None:
        """Record what a random re-run by legacy saw, and count which of the three answers stood alone.

        A re-run that is recorded already is not counted again.
        """
        moves = Moves()
        moves.count(epoch, "noise:reruns")
        if only_celery:
            moves.count(epoch, "noise:only_celery")
        if only_legacy:
            moves.count(epoch, "noise:only_legacy")
        (row,) = observation_values(evaluation_id, NOISE_RUN, again, None)
        on_sqlite = self._database.is_sqlite
        async with self._database.write() as connection:
            recorded = await connection.execute(new_rows(observations, on_sqlite=on_sqlite).values(row))
            if recorded.rowcount == 1:
                await moves.write(connection, on_sqlite=on_sqlite)

    async def random_reference(self) -> str | None:
        """An evaluation of traffic on which both legs agreed, drawn at random; null when there is none.

        Those from which a sentinel differed are drawn no more: time may have passed over them.
        """
        async with self._database.read() as connection:
            return await random_reference(connection)

    async def unconfirmed(self, limit: int) -> list[str]:
        """At most ``limit`` mismatches of traffic that were never run again, the oldest first."""
        async with self._database.read() as connection:
            return list(await connection.scalars(unconfirmed(limit)))

    async def mismatches(self, epoch: int, after_id: str, limit: int) -> list[Comparison]:
        """At most ``limit`` mismatches of traffic in ``epoch`` with ids above ``after_id``, by id."""
        async with self._database.read() as connection:
            rows = await connection.execute(mismatches(epoch, after_id, limit))
            return [comparison_of(row) for row in rows]

    async def verify(self) -> Verification:
        """Recompute every decision from raw pairs, and say where the books say otherwise.

        All of it as of one moment, so that others may go on meanwhile.
        """
        async with self._database.snapshot() as connection:
            return await verify(connection)


async def _locked(connection: AsyncConnection, version: int | None) -> Rollout:
    found = (await read_state(connection, lock=True)).rollout
    if version is not None and found.version != version:
        raise RolloutConflict(
            f"the rollout is at version {found.version}, not {version}; look at it again, then decide again"
        )
    return found


async def _look(connection: AsyncConnection, version: int | None) -> Look:
    """What is seen stays so until the transaction ends."""
    await _locked(connection, version)
    return await _seen(connection)


async def _seen(connection: AsyncConnection) -> Look:
    state = await read_state(connection)
    epoch = await read_epoch(connection, state.rollout.epoch)
    inputs = await read_inputs(connection, epoch)
    last = await rollout_state.entries(connection, 1)
    today = datetime.now(UTC).date()
    assessment = assessed(inputs, state.rollout, epoch, state.since_seq, today)
    return Look(state, epoch, inputs, assessment, last[0] if last else None, today)


def _require_go(look: Look, step: Step, what: str) -> None:
    refusing = in_the_way(step, look.assessment)
    if refusing:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in refusing)
        raise GateRefused(f"the evidence does not allow to {what}: {reasons}", look.assessment)


def _grounds(look: Look) -> dict[str, Any]:
    return {
        "today": look.today.isoformat(),
        "since_seq": look.state.since_seq,
        "inputs": look.inputs.model_dump(mode="json"),
        "assessment": look.assessment.model_dump(mode="json"),
    }


def _gives_more(before: Rollout, after: Rollout) -> bool:
    """Whether Celery may answer something after that it did not before."""
    if after.stage.rank < Stage.CANARY.rank:
        return False
    return (
        after.stage.rank > before.stage.rank
        or after.share > before.share
        or _more_by_rules(before.rules, after.rules)
        or (after.sample < before.sample and after.stage is Stage.LIVE)
    )


def _more_by_rules(before: tuple[RouteRule, ...], after: tuple[RouteRule, ...]) -> bool:
    """Whether rules were changed in another way than by adding some that keep evaluations on legacy."""
    return tuple(rule for rule in after if rule.share > 0 or rule in before) != before
