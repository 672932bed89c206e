"""Crucible's own ids: unique over processes and machines, and sorted by the time they were made.

An id is a prefix and 26 characters of Crockford's base 32: 48 bits of milliseconds since 1970, then
80 bits of chance. Within one process each id is greater than the one before, whatever the clock does.
"""

from base64 import b32hexdecode, b32hexencode
from datetime import UTC, datetime
from secrets import randbelow, randbits
from threading import Lock
from time import time_ns

_CHANCE_BITS = 80
_STEP_BITS = 40
_LENGTH = 26
_DIGITS, _CROCKFORD = b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_CROCKFORD = bytes.maketrans(_DIGITS, _CROCKFORD)
_FROM_CROCKFORD = bytes.maketrans(_CROCKFORD, _DIGITS)


def new_evaluation_id() -> str:
    """An id for one submitted evaluation."""
    return new_evaluation_ids(1)[0]


def new_evaluation_ids(number: int) -> list[str]:
    """Ids for ``number`` submitted evaluations, in ascending order."""
    return [_text("ev-", value) for value in _sequence.take(number)]


def new_sweep_id() -> str:
    """An id for one sweep."""
    return _text("sw-", _sequence.take(1)[0])


def new_key_id() -> str:
    """An id for one API key."""
    return _text("key-", _sequence.take(1)[0])


def made_at(made_id: str) -> datetime:
    """When an id was made, to the millisecond; raises ``ValueError`` for a text that is no id of ours."""
    return datetime.fromtimestamp((_value(made_id) >> _CHANCE_BITS) / 1000, UTC)


def first_id_at(prefix: str, moment: datetime) -> str:
    """The least id that could be made at ``moment``: all made before sort below it."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return _text(prefix, milliseconds << _CHANCE_BITS)


def random_id(first: str, last: str) -> str:
    """An id that could be, drawn at random from ``first`` to ``last``, which have one prefix."""
    prefix = first.removesuffix(first[-_LENGTH:])
    low, high = _value(first), _value(last)
    return _text(prefix, low + randbelow(high - low + 1))


class _Sequence:
    """Ascending 128-bit numbers that start with the time in milliseconds; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0

    def take(self, number: int) -> list[int]:
        with self._lock:
            return [self._next() for _ in range(number)]

    def _next(self) -> int:
        now = time_ns() // 1_000_000 << _CHANCE_BITS
        if now >> _CHANCE_BITS > self._last >> _CHANCE_BITS:
            self._last = now | randbits(_CHANCE_BITS)
        else:
            # A step of chance, not of one: a forked process starts from the same number as its parent.
            self._last += 1 + randbits(_STEP_BITS)
        return self._last


_sequence = _Sequence()


def _value(made_id: str) -> int:
    digits = made_id.rpartition("-")[2].encode()
    if len(digits) != _LENGTH or digits.strip(_CROCKFORD):
        raise ValueError(f"{made_id!r} is no id of Crucible's")
    return int.from_bytes(b32hexdecode(digits.translate(_FROM_CROCKFORD).rjust(32, b"0")), "big")


def _text(prefix: str, value: int) -> str:
    digits = b32hexencode(value.to_bytes(20, "big"))[-_LENGTH:]
    return prefix + digits.translate(_TO_CROCKFORD).decode()
