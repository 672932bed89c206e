"""The built-in kind for what is printed in the order of a hash table: items between braces."""

import re
from dataclasses import dataclass, field

MAX_DEPTH = 20
"""Displays nested deeper than this are left alone: each level costs one more pass over what is in it."""

_CLOSED_BY = {b"{": b"}", b"[": b"]", b"(": b")"}
_TOKEN = re.compile(rb"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|[\[\](){},'"]""")


def hash_ordered(stream: bytes) -> bytes:
    """Put the items of every ``{...}`` on one line into the order of their bytes, the innermost first.

    Commas part items; those within quotes, brackets or parentheses do not, whose order stays. From the first
    brace on that has no partner a line is left alone. Takes n log n steps for n bytes.
    """
    return b"\n".join(_sorted_within(line) for line in stream.split(b"\n"))


def _sorted_within(line: bytes) -> bytes:
    done = []
    at = 0
    while (start := line.find(b"{", at)) >= 0:
        found = _display(line, start)
        if found is None:
            break
        text, end = found
        done += [line[at:start], text]
        at = end
    return b"".join([*done, line[at:]])


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet: what stands in it, cut at its commas if it is a brace."""

    bracket: bytes
    parts: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    def cut(self) -> None:
        self.parts.append(b"".join(self.chunks))
        self.chunks = []

    def closed(self) -> bytes:
        self.cut()
        return self.bracket + b",".join(_in_order(self.parts)) + _CLOSED_BY[self.bracket]


def _display(line: bytes, start: int) -> tuple[bytes, int] | None:
    """The display that opens at ``start``, with its items in order, and where it ends."""
    stack = [_Open(b"{")]
    at = start + 1
    while token := _TOKEN.search(line, at):
        symbol = token.group()
        stack[-1].chunks.append(line[at : token.start()])
        at = token.end()
        if symbol in _CLOSED_BY:
            if len(stack) == MAX_DEPTH:
                return None
            stack.append(_Open(symbol))
        elif symbol in _CLOSED_BY.values():
            closing = stack.pop()
            if _CLOSED_BY[closing.bracket] != symbol:
                return None
            if not stack:
                return closing.closed(), at
            stack[-1].chunks.append(closing.closed())
        elif symbol == b"," and stack[-1].bracket == b"{":
            stack[-1].cut()
        elif symbol in (b"'", b'"'):
            return None
        else:
            stack[-1].chunks.append(symbol)
    return None


def _in_order(parts: list[bytes]) -> list[bytes]:
    """``parts`` with their words in order; the white space around them stays where it is."""
    items = [part.strip() for part in parts]
    if not all(items):
        return parts
    return [
        part[: len(part) - len(part.lstrip())] + item + part[len(part.rstrip()) :]
        for part, item in zip(parts, sorted(items), strict=True)
    ]
