"""Every script: its keys, its arguments, and what it returns. What each does stands in its file."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from crucible.models import Leg
from tasks.scripts import Key, Keys, script

ListEnd = Literal["LEFT", "RIGHT"]


class QueueBooks(NamedTuple):
    """Keys under which the legacy queue keeps what was taken."""

    processing: str
    leases: str
    attempts: str


class LetterKeys(NamedTuple):
    """Keys of the dead letters of one leg: the number of the newest one, and the stream of all."""

    number: str
    stream: str


@script("clock", "queue", "replies")
def claim(
    *,
    claim: Key,
    done: Key,
    run_mark: Key,
    evaluation_mark: Key,
    replies: Key,
    books: QueueBooks | None,
    token: str,
    lease_ms: int,
    run_id: str,
    leg: Leg,
    payload: bytes | None,
) -> bytes:
    """``payload`` is that of a legacy run, whose ``books`` are kept in step; so it is in all scripts."""


@script("clock", "queue", "replies")
def complete(
    *,
    done: Key,
    claim: Key,
    duplicates: Key,
    replies: Key,
    books: QueueBooks | None,
    token: str,
    result_ttl_ms: int,
    run_id: str,
    leg: Leg,
    kind: Literal["answer", "fault"],
    body: bytes,
    worker: str,
    taken_at: int,
    finished_at: int,
    payload: bytes | None,
) -> int:
    """``taken_at`` and ``finished_at`` are in ms since 1970."""


@script("clock")
def renew(
    *,
    claims: Keys,
    leases: Key | None,
    lease_ms: int,
    queue_lease_ms: int,
    tokens: Sequence[str],
    payloads: Sequence[bytes],
) -> int:
    """``tokens`` are in the order of ``claims``, and so are ``payloads`` where there are ``leases``."""


@script("clock", "queue")
def release(*, claim: Key, books: QueueBooks | None, token: str, payload: bytes | None) -> int:
    """Returns 1 when the claim was still that of ``token``."""


@script("clock", "queue")
def take(*, books: QueueBooks, queues: Keys, lease_ms: int) -> bytes | None:
    """``queues`` are the most urgent first."""


@script("clock", "queue", "letters")
def reap(
    *,
    lock: Key,
    books: QueueBooks,
    letters: LetterKeys,
    worker: str,
    lock_ms: int,
    max_attempts: int,
    letters_kept: int,
    id_pattern: str,
    done_format: str,
) -> tuple[int, *tuple[bytes, ...]]:
    """``id_pattern`` captures a payload's run id; ``done_format`` makes the key ``done`` of one, as %s."""


@script("clock", "queue", "letters")
def bury(*, books: QueueBooks, letters: LetterKeys, payload: bytes, reason: str, letters_kept: int) -> None:
    """``letters_kept`` is how many letters are kept at most."""


@script("clock", "letters")
def bury_message(
    *,
    letters: LetterKeys,
    letters_kept: int,
    run_id: str,
    reason: str,
    taken: int,
    queue: str,
    message: bytes,
) -> None:
    """``run_id`` is empty when it is not known."""


@script()
def put_back(*, letters: Key, queue: Key, entry_id: str, push: Literal["RPUSH", "LPUSH"]) -> int:
    """``push`` is the command that makes an element the last in line."""


@script()
def age(*, lock: Key, memory: Key, queues: Keys, period_ms: int, rising: int, head: ListEnd) -> int:
    """``queues`` are the most urgent first; elements are taken from their ``head``."""


@script()
def oldest(*, queues: Keys, place: int, text_before: str) -> int:
    """The first in line is at ``place``, 0 or -1; its time stands behind ``text_before``."""


@script("withdrawal")
def withdraw_payloads(*, attempts: Key, queues: Keys, id_pattern: str, run_ids: Sequence[str]) -> int:
    """``id_pattern`` captures the run id of a payload."""


@script("withdrawal")
def withdraw_messages(
    *, unacked: Key, unacked_index: Key, queues: Keys, id_pattern: str, run_ids: Sequence[str]
) -> int:
    """``id_pattern`` captures the run id of a message; ``unacked`` has messages by their tags."""


@script("clock")
def exchange(*, text: Key, expected: bytes, wanted: bytes, ttl_ms: int) -> tuple[int, bytes, int]:
    """``wanted`` is forgotten after ``ttl_ms``, unless it is replaced before."""
