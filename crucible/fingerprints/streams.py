"""What changed in a stream of output, told from the first place where the legs differ."""

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from math import isclose
from typing import NamedTuple

from crucible.fingerprints.tokens import Kind, Token, label, shift, tokens

_LOOKED_AT = 256 << 10
"""Characters of each side that are looked at from the first differing line on."""


class Change(StrEnum):
    """What a difference is made of."""

    ZONE = "zone"
    CLOCK = "clock"
    HASHING = "hashing"
    MEMORY = "memory"
    LIMIT = "limit"
    ADDRESS = "address"
    ROUNDING = "rounding"
    SWAPPED = "swapped"
    CUT = "cut"
    SPACING = "spacing"
    ENDING = "ending"
    VALUE = "value"
    TEXT = "text"


class Found(NamedTuple):
    """A change, its template, and where in the stream it is."""

    change: Change
    template: str
    where: str


_OF_LABEL = {
    "TZ": Change.ZONE,
    "PYTHONHASHSEED": Change.HASHING,
    "PERL_HASH_SEED": Change.HASHING,
    "PERL_PERTURB_KEYS": Change.HASHING,
    **dict.fromkeys(
        ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_wday", "tm_yday", "tm_isdst", "tm_gmtoff"),
        Change.ZONE,
    ),
}
"""What follows such a name is known by it: what executors set for programs, parts of a local time."""

_OF_TIME = {Kind.MOMENT, Kind.CALENDAR, Kind.OFFSET, Kind.ZONE}
_ZONE_LIKE = re.compile(r"[A-Z]{2,5}|[+-]\d\d(?:\d\d){0,2}", re.ASCII)
_QUARTER_S = 900
_FURTHEST_S = 26 * 3600
_HASH_FROM = 1 << 50
_WRAPS = 1 << 32
_EPOCH_FROM = 10**8
_CLOSE = 1e-6
_LONGEST_NUMBER = 300
_SHOWN_TOKENS, _SHOWN_LETTERS = 6, 20


def change_of(legacy: bytes, celery: bytes) -> Found:
    """What makes ``celery`` differ from ``legacy``; the two are not equal."""
    if celery and legacy.startswith(celery):
        return Found(Change.CUT, "celery ends early", "end")
    if legacy and celery.startswith(legacy):
        return Found(Change.CUT, "celery goes on", "end")
    left, right, where = _differing(legacy, celery)
    return Found(*_judged(left, right), where)


def template_of(said: Sequence[Token]) -> str:
    """``said`` with its numbers and the like masked, cut to a few short words."""
    shown = " ".join(_masked(token) for token in said[:_SHOWN_TOKENS])
    return f"{shown} …" if len(said) > _SHOWN_TOKENS else shown or "nothing"


def _differing(legacy: bytes, celery: bytes) -> tuple[list[str], list[str], str]:
    """The lines of both sides from the first to the last that differs, and where the first one is."""
    left, right = _lines(legacy), _lines(celery)
    start = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    start = min(len(left), len(right)) if start is None else start
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    where = "first line" if start == 0 else "last line" if start >= len(left) - 1 else "inside"
    return left[start : len(left) - end], right[start : len(right) - end], where


def _lines(stream: bytes) -> list[str]:
    return stream.decode(errors="backslashreplace").split("\n")


def _judged(left: list[str], right: list[str]) -> tuple[Change, str]:
    """Change and template of the differing lines."""
    all_left, all_right = _tokens(left), _tokens(right)
    if all_left == all_right:
        return Change.SPACING, "line ends" if _bare(left) == _bare(right) else "spaces"
    if len(left) == len(right) and not _is_reordered(all_left, all_right):
        pairs = zip(left, right, strict=True)
        all_left, all_right = next((a, b) for a, b in ((tokens(a), tokens(b)) for a, b in pairs) if a != b)
    return _of_tokens(all_left, all_right)


def _tokens(lines: list[str]) -> list[Token]:
    return tokens("\n".join(lines)[:_LOOKED_AT])


def _bare(lines: list[str]) -> list[str]:
    return [line.rstrip("\r") for line in lines]


def _of_tokens(left: list[Token], right: list[Token]) -> tuple[Change, str]:
    start = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    start = min(len(left), len(right)) if start is None else start
    name = label(left[:start])
    if name in _OF_LABEL:
        return _OF_LABEL[name], f"{name} = …"
    if start < min(len(left), len(right)):
        known = _of_pair(left[start], right[start])
        if known is not None:
            return known, f"{_masked(left[start])} → {_masked(right[start])}"
    if _is_reordered(left, right):
        return Change.HASHING, "the same in another order"
    return _in_words(name, left[start:], right[start:])


def _in_words(name: str | None, left: list[Token], right: list[Token]) -> tuple[Change, str]:
    """The residue: nothing is known but what was said on either side."""
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    before, after = template_of(left), template_of(right)
    named = f"{name[:_SHOWN_LETTERS]} = " if name else ""
    return Change.VALUE if before == after else Change.TEXT, f"{named}{before} → {after}"


def _of_pair(left: Token, right: Token) -> Change | None:
    """What the first two differing tokens tell by themselves."""
    kinds = {left.kind, right.kind}
    if left.kind is right.kind is Kind.MOMENT:
        return _of_moments(left, right)
    if kinds <= _OF_TIME or (Kind.ZONE in kinds and _may_be_zones(left, right)):
        return Change.ZONE
    if kinds == {Kind.ADDRESS}:
        return Change.ADDRESS
    if kinds == {Kind.NUMBER}:
        return _of_numbers(left.text, right.text)
    return None


def _may_be_zones(left: Token, right: Token) -> bool:
    """Whether both could be names of zones; there are more names than are known here, some made of digits."""
    return all(each.kind is Kind.ZONE or _ZONE_LIKE.fullmatch(each.text) for each in (left, right))


def _of_moments(left: Token, right: Token) -> Change | None:
    apart = shift(left, right)
    if apart is None:
        return None
    whole = apart.total_seconds() % _QUARTER_S == 0
    return Change.ZONE if whole and abs(apart.total_seconds()) <= _FURTHEST_S else Change.CLOCK


def _of_numbers(left: str, right: str) -> Change | None:
    if max(len(left), len(right)) > _LONGEST_NUMBER:
        return None
    if left.lstrip("+-").isdecimal() and right.lstrip("+-").isdecimal():
        return _of_integers(int(left), int(right))
    before, after = float(left), float(right)
    if before.is_integer() and after.is_integer():
        return _of_integers(int(before), int(after))
    return Change.ROUNDING if isclose(before, after, rel_tol=_CLOSE) else None


def _of_integers(left: int, right: int) -> Change | None:
    apart = abs(left - right)
    if apart % _QUARTER_S == 0 and 0 < apart <= _FURTHEST_S and _is_of_time(left, right):
        return Change.ZONE
    # Numbers that wide and unlike are hashes; those that a wrapped sum lies between are not.
    if min(abs(left), abs(right)) >= _HASH_FROM and apart % _WRAPS != 0:
        return Change.HASHING
    return None


def _is_of_time(left: int, right: int) -> bool:
    """Whether two integers a zone's offset apart are seconds of the epoch, or the offset itself and none."""
    return min(abs(left), abs(right)) >= _EPOCH_FROM or (0 in (left, right) and abs(left - right) >= 3600)


def _is_reordered(left: list[Token], right: list[Token]) -> bool:
    """Whether both say the same in another order, whatever the clock says beside it."""
    before, after = ([_steady(token) for token in side] for side in (left, right))
    return before != after and Counter(before) == Counter(after)


def _steady(token: Token) -> str:
    return token.kind if token.kind in _OF_TIME or token.kind is Kind.ADDRESS else token.text


def _masked(token: Token) -> str:
    if token.kind not in (Kind.WORD, Kind.MARK):
        return f"<{token.kind}>"
    if any(letter.isdigit() for letter in token.text):
        return "<name>"
    if not token.text.isprintable():
        return "<control>"
    return token.text if len(token.text) <= _SHOWN_LETTERS else f"{token.text[:_SHOWN_LETTERS]}…"
