"""Untrusted bytes as text that shows every byte and controls nothing: no terminal, no page, no XML.

The mapping is one to one, so two texts look the same only where the bytes are the same (lookalike
letters aside): a character used here as a mark is itself escaped when a program prints it.

Of a diff only the window between the first and the last differing line is compared, and of that only as much
as can be shown: difflib takes quadratic time, finding the window does not.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

MAX_LINE_BYTES = 200
MISSING_END = "⏎ missing at end of file"

_SPACE = "·"
_MARKS = {"\t": "→", "\r": "␍", "\n": "␊", "\0": "␀"}
_RESERVED = frozenset({_SPACE, *_MARKS.values(), "⟨", "⟩"})
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp", "Mn", "Me"})
_UNSEEN_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_LEAD_BYTES = 50

_NOT_PLAIN = re.compile(
    r"(?P<space>(?<!\S) | (?!\S))"  # a space that no letter encloses on both sides
    r"|[^ -~]"
    r"|\\(?=x[0-9A-Fa-f]{2})"  # a backslash that would read as one of our escapes
)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The first lines of a stream, safe to show, and how many more there are."""

    lines: tuple[str, ...]
    more: int
    end_missing: bool


def visible(data: bytes) -> str:
    r"""``data`` as one line of safe text.

    Spaces at an edge or side by side are ``·``, a tab ``→``, CR ``␍``, LF ``␊``, NUL ``␀``. Invalid
    UTF-8, control, format, combining and unseen characters are ``\xNN`` for each of their bytes.
    """
    return _NOT_PLAIN.sub(_shown, data.decode("utf-8", "surrogateescape"))


def visible_text(text: str) -> str:
    """A string from outside (a name, a reason) as one line of safe text."""
    return visible(text.encode("utf-8", "surrogatepass"))


def clip(line: bytes, around: int = 0) -> str:
    """``line`` as safe text, a long one shortened to at most ``MAX_LINE_BYTES`` near byte ``around``.

    What is left out is counted: ``⟨1,024 bytes⟩``.
    """
    if len(line) <= MAX_LINE_BYTES:
        return visible(line)
    start = _character_start(line, max(0, around - _LEAD_BYTES))
    end = _character_start(line, min(len(line), start + MAX_LINE_BYTES))
    return _left_out(start) + visible(line[start:end]) + _left_out(len(line) - end)


def first_lines(data: bytes, most: int) -> tuple[list[bytes], int]:
    """The first ``most`` lines of ``data``, each with its line feed, and the number of lines after them."""
    *lines, rest = data.split(b"\n", most)
    lines = [line + b"\n" for line in lines]
    if len(lines) < most:
        return ([*lines, rest] if rest else lines), 0
    return lines, count_lines(rest)


def count_lines(data: bytes) -> int:
    """How many lines ``data`` has, counting a last one without a line feed."""
    return data.count(b"\n") + int(bool(data) and not data.endswith(b"\n"))


def excerpt(data: bytes, most: int) -> Excerpt:
    """The first ``most`` lines of a stream, without their line feeds."""
    lines, more = first_lines(data, most)
    end_missing = bool(data) and not more and not data.endswith(b"\n")
    return Excerpt(tuple(clip(line.removesuffix(b"\n")) for line in lines), more, end_missing)


def _shown(match: re.Match[str]) -> str:
    if match["space"]:
        return _SPACE
    character = match.group()
    if character in _MARKS:
        return _MARKS[character]
    unseen = unicodedata.category(character) in _UNSEEN_CATEGORIES or character in _UNSEEN_LETTERS
    if unseen or character in _RESERVED or character == "\\":
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return character


def _character_start(data: bytes, index: int) -> int:
    """The nearest index at or before ``index`` that does not split a UTF-8 character."""
    for back in range(min(4, index + 1)):
        if index - back >= len(data) or data[index - back] & 0xC0 != 0x80:
            return index - back
    return index


def _left_out(count: int) -> str:
    return f"⟨{count:,} bytes⟩" if count else ""


MAX_LINES = 60
_CONTEXT = 3


class Kind(StrEnum):
    """What a line of a diff is; its value is the sign in front of the line."""

    CONTEXT = " "
    LEGACY = "-"
    CELERY = "+"
    HUNK = "@"
    NOTE = "\\"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line, safe to show. ``text[changed[0]:changed[1]]`` is where it differs from its counterpart."""

    kind: Kind
    text: str
    changed: tuple[int, int] = (0, 0)


def unified_diff(legacy: bytes, celery: bytes, max_lines: int = MAX_LINES) -> tuple[DiffLine, ...]:
    """The difference, with three lines of context: at most ``max_lines`` and a note that counts the rest.

    Empty exactly when the two are equal.
    """
    if legacy == celery:
        return ()
    head, tail = _window(legacy, celery)
    compared = 2 * (max_lines + _CONTEXT)
    left, left_more = first_lines(legacy[head : len(legacy) - tail], compared)
    right, right_more = first_lines(celery[head : len(celery) - tail], compared)
    lines = list(_hunks(left, right, legacy.count(b"\n", 0, head) + 1))
    hidden = [line.kind for line in lines[max_lines:]]
    left_more += hidden.count(Kind.LEGACY)
    right_more += hidden.count(Kind.CELERY)
    if left_more or right_more:
        note = f"not shown: {left_more:,} more lines of legacy, {right_more:,} more of celery"
        return (*lines[:max_lines], DiffLine(Kind.NOTE, note))
    return tuple(lines[:max_lines])


def _common_prefix(left: bytes, right: bytes) -> int:
    """How many bytes the two have in common at the start."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(left: bytes, right: bytes) -> int:
    return _common_prefix(left[::-1], right[::-1])


def _window(legacy: bytes, celery: bytes) -> tuple[int, int]:
    """How many bytes of whole, equal lines may be cut off at the start and at the end, context kept."""
    head = legacy.rfind(b"\n", 0, _common_prefix(legacy, celery)) + 1
    suffix = _common_suffix(legacy[head:], celery[head:])
    first_end = legacy.find(b"\n", len(legacy) - suffix)
    tail_start = len(legacy) if first_end < 0 else first_end + 1
    for _ in range(_CONTEXT):
        head = legacy.rfind(b"\n", 0, max(0, head - 1)) + 1
        end = legacy.find(b"\n", tail_start)
        tail_start = len(legacy) if end < 0 else end + 1
    return head, len(legacy) - tail_start


def _hunks(left: list[bytes], right: list[bytes], first_line: int) -> Iterator[DiffLine]:
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        _, legacy_at, _, celery_at, _ = group[0]
        yield DiffLine(
            Kind.HUNK, f"legacy line {first_line + legacy_at}, celery line {first_line + celery_at}"
        )
        for operation, i1, i2, j1, j2 in group:
            if operation == "equal":
                yield from (DiffLine(Kind.CONTEXT, clip(line.removesuffix(b"\n"))) for line in left[i1:i2])
            else:
                yield from _replaced(left[i1:i2], right[j1:j2])


def _replaced(left: list[bytes], right: list[bytes]) -> Iterator[DiffLine]:
    pairs = [_side_by_side(*pair) for pair in zip(left, right, strict=False)]
    legacy = [pair[0] for pair in pairs] + [DiffLine(Kind.LEGACY, clip(line)) for line in left[len(pairs) :]]
    celery = [pair[1] for pair in pairs] + [DiffLine(Kind.CELERY, clip(line)) for line in right[len(pairs) :]]
    yield from _with_missing_end(legacy, left)
    yield from _with_missing_end(celery, right)


def _with_missing_end(lines: Iterable[DiffLine], raw: list[bytes]) -> Iterator[DiffLine]:
    yield from lines
    if raw and not raw[-1].endswith(b"\n"):
        yield DiffLine(Kind.NOTE, MISSING_END)


def _side_by_side(left: bytes, right: bytes) -> tuple[DiffLine, DiffLine]:
    around = _common_prefix(left, right)
    legacy, celery = clip(left, around), clip(right, around)
    start, end = _common_ends(legacy, celery)
    return (
        DiffLine(Kind.LEGACY, legacy, (start, len(legacy) - end)),
        DiffLine(Kind.CELERY, celery, (start, len(celery) - end)),
    )


def _common_ends(left: str, right: str) -> tuple[int, int]:
    shorter = min(len(left), len(right))
    start = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    end = next((i for i in range(shorter - start) if left[-1 - i] != right[-1 - i]), shorter - start)
    return start, end
