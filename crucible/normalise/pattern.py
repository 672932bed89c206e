"""Regular expressions in rules: a small part of the language, in which nothing is slow or hides too much.

A pattern is a row of characters, escapes and classes, each repeated at most a stated number of times. One
pair of parentheses may stand around what is masked; the rest is what it is known by. What these limits give:

* time linear in the stream: at any one place there is a bounded number of ways to match;
* a rule that is idempotent: what is put in begins with ``<`` and ends with ``>``, which no part of the
  pattern matches, and surroundings are only looked at. So whatever matches afterwards stands between marks,
  in text that was there before, at a place that was tried before;
* as many words and lines as before: nothing that is masked holds white space, and what is put in holds none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

MAX_LENGTH = 256
"""The longest text that a pattern may match, in bytes."""

MAX_WAYS = 256
"""In how many ways the masked part may be cut into repetitions at one place."""

MIN_FIXED = 3
"""How many characters a pattern must spell out, so that it is about something."""

_PART = re.compile(
    r"""(?P<atom> \\[dwsDWSnrt] | \\x[0-9a-fA-F]{2} | \\[!-/:-@\[-`{-~]
      | \[\^?(?:\\[!-~]|(?!--|&&|~~|\|\|)[ !-Z^-~])+\]
      | [ !"#%&'\-,/-9:->@-Z_-z~] )
      (?:\{(?P<least>[0-9]{1,3})(?P<range>,(?P<most>[0-9]{1,3}))?\}|(?P<maybe>\?))?
      | (?P<bracket>[()])""",
    re.VERBOSE,
)
_WHITE = frozenset(b" \t\n\r\v\f")
_RESERVED = frozenset(b"<>")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One part of a pattern: which bytes it matches, and how many of them at least and at most."""

    text: str
    matches: frozenset[int]
    least: int
    most: int

    @property
    def fixed(self) -> int:
        """How many characters it spells out."""
        return self.least if len(self.matches) == 1 else 0


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[bytes]:
    """An expression that finds what ``pattern`` masks. Raises ``ValueError`` saying what it must not hold."""
    before, masked, after = _sections(pattern)
    _check_matches(before, masked, after)
    _check_size(masked, [*before, *masked, *after])
    looked_at = [f"(?<={_text(before)})", _text(masked), f"(?={_text(after)})"]
    return re.compile("".join(looked_at).encode())


def _sections(pattern: str) -> tuple[list[_Piece], list[_Piece], list[_Piece]]:
    """The pieces before, in and behind the parentheses; without any, all of it is masked."""
    sections: list[list[_Piece]] = [[]]
    brackets = ""
    at = 0
    while at < len(pattern):
        part = _PART.match(pattern, at)
        if part is None:
            raise ValueError(
                f"{pattern[at:]!r} cannot stand in a pattern; it takes characters, escapes such as \\d, "
                "classes such as [a-f0-9], each alone or with ?, {n} or {n,m}, and one pair of parentheses"
            )
        if part["bracket"]:
            brackets += part["bracket"]
            sections.append([])
        else:
            sections[-1].append(_piece(part))
        at = part.end()
    if brackets not in ("", "()"):
        raise ValueError("takes one pair of parentheses, around what is masked")
    before, masked, after = sections if brackets else ([], sections[0], [])
    return before, masked, after


def _piece(part: re.Match[str]) -> _Piece:
    least, most = 1, 1
    if part["maybe"]:
        least = 0
    elif part["least"]:
        least = int(part["least"])
        most = int(part["most"]) if part["range"] else least
    if most < max(least, 1):
        raise ValueError(f"{part.group()!r} repeats nothing")
    return _Piece(part.group(), _matched_by(part["atom"]), least, most)


def _matched_by(atom: str) -> frozenset[int]:
    try:
        expression = re.compile(atom.encode())
    except re.error as error:
        raise ValueError(f"{atom!r} is no regular expression: {error.msg}") from None
    return frozenset(byte for byte in range(256) if expression.match(bytes([byte])))


def _check_matches(before: Sequence[_Piece], masked: Sequence[_Piece], after: Sequence[_Piece]) -> None:
    for piece in (*before, *masked, *after):
        if piece.matches & _RESERVED:
            raise ValueError(f"{piece.text!r} matches < or >, which mark what was masked; leave them out")
    for piece in masked:
        if piece.matches & _WHITE:
            raise ValueError(f"{piece.text!r} would mask white space; put parentheses around one word")
    for piece in (*before, *after):
        if piece.least != piece.most:
            raise ValueError(f"{piece.text!r} has no one length, as what stands around the mask must have")


def _check_size(masked: Sequence[_Piece], everything: Sequence[_Piece]) -> None:
    if not sum(piece.least for piece in masked):
        raise ValueError("may mask nothing at all; ask for one character at least")
    if sum(piece.fixed for piece in everything) < MIN_FIXED:
        raise ValueError(f"fits too much: {MIN_FIXED} characters at least must be spelt out")
    if sum(piece.most for piece in everything) > MAX_LENGTH:
        raise ValueError(f"matches more than {MAX_LENGTH} bytes; narrow its repetitions")
    ways = prod(piece.most - piece.least + 1 for piece in masked)
    if ways > MAX_WAYS:
        raise ValueError(f"can match in {ways} ways at one place, {MAX_WAYS} at most; narrow its repetitions")


def _text(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.text for piece in pieces)
