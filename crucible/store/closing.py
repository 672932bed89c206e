"""The evidence up to a position, added up: what a replay goes on from when the pairs before are gone."""

from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models.frozen import Frozen
from crucible.rollout.audit import AuditEntry, canonical
from crucible.store.encoding import decoded
from crucible.store.totals_tables import retention

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
