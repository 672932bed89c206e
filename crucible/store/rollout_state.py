"""The row that says where the migration stands, the epochs, and the log of changes, inside a transaction."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import RolloutConflict
from crucible.models.frozen import Frozen
from crucible.rollout.epoch import GENESIS, AuditEntry, Epoch, EpochKey, canonical, sealed
from crucible.rollout.stage import Rollout
from crucible.store.encoding import decoded
from crucible.store.tables import audit, epochs, evidence, retention, rollout


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


CLOSED = "closed"
"""What an entry of the audit log says under this name of its grounds attests a closing of the books."""


class EpochSums(Frozen):
    """What the pairs of one epoch add up to, by stratum: pairs and mismatches, detectors; faults by kind.

    ``unplanted`` counts the pairs since the last planted fault.
    """

    pairs: Mapping[str, tuple[int, int]] = {}
    detectors: Mapping[str, float] = {}
    mutants: Mapping[str, tuple[int, int]] = {}
    unplanted: int = 0


class Closing(Frozen):
    """The books up to evidence number ``seq``, by epoch. Up to there they were verified pair by pair."""

    seq: int = 0
    epochs: Mapping[int, EpochSums] = {}

    @property
    def attested(self) -> dict[str, object]:
        """What the audit log says of it: nobody can put another in its place unseen."""
        return {"seq": self.seq, "digest": sha256(canonical(self.model_dump(mode="json"))).hexdigest()}


async def read_closing(connection: AsyncConnection, *, lock: bool = False) -> Closing:
    """The present closing; with ``lock`` nobody else closes or lets go in this transaction."""
    query = select(retention.c.body)
    body = (await connection.execute(query.with_for_update() if lock else query)).scalar_one()
    return decoded(Closing.model_validate_json, body, "closing of the books")


def closing_faults(closing: Closing, log: list[AuditEntry]) -> list[str]:
    """One sentence where ``closing`` is not the one that the log attests."""
    attested = [entry.grounds[CLOSED] for entry in log if CLOSED in entry.grounds]
    if attested[-1:] == ([closing.attested] if closing.seq else []):
        return []
    return ["the closing of the books is not the one that the audit log attests"]
