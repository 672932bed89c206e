"""The row that says where the migration stands, the epochs, and the log of changes, inside a transaction."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import RolloutConflict
from crucible.rollout.audit import GENESIS, AuditEntry, sealed
from crucible.rollout.epoch import Epoch, EpochKey
from crucible.rollout.stage import Rollout
from crucible.store.encoding import decoded
from crucible.store.rollout_tables import audit, epochs, evidence, rollout
from crucible.store.totals_tables import retention


class State(NamedTuple):
    """Where the migration stands, and the position of the evidence when it last moved or began an epoch."""

    rollout: Rollout
    since_seq: int


class Reason(NamedTuple):
    """Who changes the rollout, how, why, and on which grounds."""

    actor: str
    action: str
    text: str
    grounds: dict[str, Any]


async def read_state(connection: AsyncConnection, *, lock: bool = False) -> State:
    """The present state; with ``lock`` nobody else changes it or adds evidence in this transaction."""
    query = select(rollout.c.body, rollout.c.since_seq)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return State(decoded(Rollout.model_validate_json, row.body, "rollout"), row.since_seq)


async def write_state(
    connection: AsyncConnection, before: Rollout, after: Rollout, why: Reason, seq: int
) -> AuditEntry:
    """Change the state from ``before`` to ``after`` and log it; to be called under ``read_state``'s lock.

    ``seq`` is the position of the newest evidence. Raises ``RolloutConflict`` when the state is another.
    """
    values = {"version": after.version, "body": after.model_dump_json()}
    if (after.stage, after.share, after.epoch) != (before.stage, before.share, before.epoch):
        values["since_seq"] = seq
    done = await connection.execute(update(rollout).where(rollout.c.version == before.version).values(values))
    if done.rowcount != 1:
        raise RolloutConflict(
            f"the rollout is no longer at version {before.version}; look at it again, then decide again"
        )
    return await log(connection, before, after, why, seq)


async def log(
    connection: AsyncConnection, before: Rollout, after: Rollout, why: Reason, seq: int
) -> AuditEntry:
    """Append to the audit log; to be called under ``read_state``'s lock."""
    newest = await connection.scalar(select(audit.c.body).order_by(audit.c.seq.desc()).limit(1))
    last = None if newest is None else entry_of(newest)
    entry = AuditEntry(
        seq=1 if last is None else last.seq + 1,
        at=datetime.now(UTC),
        actor=why.actor,
        action=why.action,
        reason=why.text,
        before=before,
        after=after,
        evidence_seq=seq,
        grounds=why.grounds,
    )
    entry = sealed(entry, GENESIS if last is None else last.hash)
    await connection.execute(insert(audit).values(seq=entry.seq, body=entry.model_dump_json()))
    return entry


def entry_of(body: str) -> AuditEntry:
    """The audit entry in ``body``."""
    return decoded(AuditEntry.model_validate_json, body, "audit log")


async def entries(connection: AsyncConnection, newest: int | None = None) -> list[AuditEntry]:
    """The audit log in its order: all of it, or the ``newest`` so many."""
    query = select(audit.c.body).order_by(audit.c.seq.desc()).limit(newest)
    return [entry_of(body) for body in await connection.scalars(query)][::-1]


async def newest_seq(connection: AsyncConnection) -> int:
    """The position of the newest evidence, which may be gone; 0 where there never was any."""
    newest = await connection.scalar(select(func.max(evidence.c.seq)))
    return max(newest or 0, await connection.scalar(select(retention.c.evidence_seq)) or 0)


async def read_epoch(connection: AsyncConnection, number: int) -> Epoch:
    """The epoch of that number."""
    row = (await connection.execute(select(epochs).where(epochs.c.number == number))).one()
    key = decoded(EpochKey.model_validate_json, row.body, f"epoch {number}")
    return Epoch(number=number, opened_at=row.opened_at, key=key)


async def read_epochs(connection: AsyncConnection) -> dict[int, Epoch]:
    """All epochs by number."""
    numbers = await connection.scalars(select(epochs.c.number).order_by(epochs.c.number))
    return {each: await read_epoch(connection, each) for each in list(numbers)}


async def add_epoch(connection: AsyncConnection, key: EpochKey) -> int:
    """Open an epoch; returns its number."""
    number = int(await connection.scalar(select(func.max(epochs.c.number))) or 0) + 1
    await connection.execute(
        insert(epochs).values(number=number, opened_at=datetime.now(UTC), body=key.model_dump_json())
    )
    return number
