"""Untrusted bytes as text that shows every byte and controls nothing: no terminal, no page, no XML.

The mapping is one to one, so two texts look the same only where the bytes are the same (lookalike
letters aside): a character used here as a mark is itself escaped when a program prints it.
"""

import re
import unicodedata
from dataclasses import dataclass

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
