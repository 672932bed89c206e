"""The audit log: every change of the migration, chained so that none can be altered or left out unseen."""

from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from crucible.models.frozen import Frozen
from crucible.rollout.stage import Rollout

ITSELF = "crucible"
"""Who the log names for what happens by itself."""

GENESIS = "0" * 64
"""What stands for the hash of the entry before the first."""


class AuditEntry(Frozen):
    """One change. ``seq`` counts from 1; ``evidence_seq`` is the position of the evidence it was made at.

    ``grounds`` holds what decided it: the assessment of the gates for a step ahead, the alarm for a way back.
    ``hash`` covers everything else and the hash before.
    """

    seq: int
    at: datetime
    actor: str
    action: str
    reason: str
    before: Rollout
    after: Rollout
    evidence_seq: int
    grounds: dict[str, Any]
    previous: str = GENESIS
    hash: str = ""


def sealed(entry: AuditEntry, previous: str) -> AuditEntry:
    """``entry`` as the successor of the one whose hash is ``previous``."""
    linked = entry.model_copy(update={"previous": previous})
    return linked.model_copy(update={"hash": digest(linked)})


def digest(entry: AuditEntry) -> str:
    """SHA-256 over the canonical JSON of everything but the hash itself."""
    return sha256(canonical(entry.model_dump(mode="json", exclude={"hash"}))).hexdigest()


def canonical(document: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def broken_links(entries: list[AuditEntry]) -> list[str]:
    """One sentence for each entry that is not what its hash, or its successor, says it was."""
    faults, previous = [], GENESIS
    for number, entry in enumerate(entries, 1):
        if entry.seq != number:
            faults.append(f"audit entry {number} is missing: {entry.seq} follows {number - 1}")
            return faults
        if entry.previous != previous:
            faults.append(f"audit entry {entry.seq} does not follow the one before it")
        if entry.hash != digest(entry):
            faults.append(f"audit entry {entry.seq} was altered after it was written")
        previous = entry.hash
    return faults
