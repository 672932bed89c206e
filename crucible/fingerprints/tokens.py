"""What a program printed, as tokens of a few kinds: their looks say more of a cause than their words."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a token looks like."""

    MOMENT = "time"
    CALENDAR = "day"
    OFFSET = "offset"
    ZONE = "zone"
    ADDRESS = "address"
    NUMBER = "number"
    WORD = "word"
    MARK = "mark"


class Token(NamedTuple):
    """A token and its kind; spaces and line ends are in none."""

    kind: Kind
    text: str


_AREAS = "Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific"
_ABBREVIATIONS = (
    "UTC|GMT|AST|ADT|NST|NDT|SST|ChST|IDT|WITA|WIT|WET|WEST|CET|CEST|EET|EEST|BST|MSK|EST|EDT|CST|CDT|MST|MDT|PST|PDT|AKST|AKDT|HST|IST|PKT|WIB"
    "|HKT|SGT|JST|KST|AEST|AEDT|ACST|ACDT|AWST|NZST|NZDT|SAST|CAT|EAT|WAT"
)
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_LONG_MONTHS = "January|February|March|April|June|July|August|September|October|November|December"
_WEEKDAYS = "(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_QUARTERS = "(?:00|15|30|45)"
_PATTERNS = {
    Kind.MOMENT: (
        r"\b\d{4}, \d{1,2}, \d{1,2}(?:, \d{1,2}){2,3}\b"
        r"|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
        r"|\b\d\d/\d\d/(?:\d{4}|\d\d)\b"
        r"|\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?![\d:])"
    ),
    Kind.CALENDAR: rf"\b(?:{_WEEKDAYS}\b|(?:{_LONG_MONTHS}|{_MONTHS})(?: +\d{{1,2}}\b|\b))",
    Kind.OFFSET: (
        rf"(?<![\w.])(?:[+-](?:0\d|1[0-4]):{_QUARTERS}|[+-]0\d{_QUARTERS}|\+1[0-4]{_QUARTERS})(?![\w.:])"
    ),
    Kind.ZONE: rf"\b(?:(?:{_AREAS})/[A-Z][\w+/-]*|(?:{_ABBREVIATIONS})\b)",
    Kind.ADDRESS: r"\b0x[0-9a-fA-F]{4,}\b",
    Kind.NUMBER: r"(?<![\w)\]])[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w)|\d+(?:\.\d+)?(?!\w)",
    Kind.WORD: r"\w+",
    Kind.MARK: r"\S",
}
_TOKEN = re.compile("|".join(f"(?P<{kind.name}>{pattern})" for kind, pattern in _PATTERNS.items()))
_FORMATS = ("%m/%d/%Y", "%m/%d/%y", "%H:%M:%S.%f", "%H:%M:%S", "%H:%M")
_DAY = timedelta(days=1)
_BRIDGES = frozenset("=:'\"([{")


def tokens(text: str) -> list[Token]:
    """The tokens of ``text``, in order."""
    return [Token(Kind[found.lastgroup], found.group()) for found in _TOKEN.finditer(text) if found.lastgroup]


def shift(earlier: Token, later: Token) -> timedelta | None:
    """How far apart two moments are; null where they cannot be read, or are not written alike.

    Times without a date are taken to be as near to each other as they can be.
    """
    first, second = _moment(earlier.text), _moment(later.text)
    if first is None or second is None or first[1] != second[1]:
        return None
    apart = second[0] - first[0]
    if "%d" not in first[1]:
        apart = (apart + _DAY / 2) % _DAY - _DAY / 2
    return apart


def label(before: list[Token]) -> str | None:
    """The name that stands before what follows ``before``, as in ``name = …`` or ``"name": …``."""
    said = list(before)
    joined = False
    while said and said[-1].kind is Kind.MARK and said[-1].text in _BRIDGES:
        joined |= said.pop().text in "=:"
    return said[-1].text if joined and said and said[-1].kind is Kind.WORD else None


def _moment(text: str) -> tuple[datetime, str] | None:
    """A moment, and a format that tells how it is written."""
    try:
        if ", " in text:
            return datetime(*map(int, text.split(", "))), "%d tuple"  # type: ignore[arg-type]  # noqa: DTZ001
        if "-" in text:
            return datetime.fromisoformat(text), "%d iso"
    except ValueError:
        return None
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form), form  # noqa: DTZ007  (only distances are asked for)
        except ValueError:
            continue
    return None
