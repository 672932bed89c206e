"""The runbook as what it tells people to do, in the order of its text."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[2] / "docs" / "runbook.md"

_FENCE = "```"
_EXITS = re.compile(r"#\s*exits (\d+)")
_EVALUATION = re.compile(r"\bev-[0-9A-Z]{26}\b")
_ASIDE = re.compile(r"`(crucible [^`]+)`")


class Section(NamedTuple):
    """What stands under one heading, line by line; a fenced block is one item with its language."""

    title: str
    items: tuple["Item", ...]


class Item(NamedTuple):
    """A fenced block, or a line of prose where ``language`` is null."""

    language: str | None
    lines: tuple[str, ...]

    @property
    def asides(self) -> list[str]:
        """Commands that prose mentions."""
        return [] if self.language else [found for line in self.lines for found in _ASIDE.findall(line)]


def sections() -> list[Section]:
    """All sections of the runbook in their order; what stands before the first is left out."""
    _, *found = FILE.read_text().split("\n## ")
    return [Section(each.splitlines()[0], tuple(_items(each.splitlines()[1:]))) for each in found]


def expected_exit(command: str) -> int:
    """The code that a comment behind the command announces; 0 without one."""
    announced = _EXITS.search(command)
    return int(announced[1]) if announced else 0


def about(evaluation_id: str, command: str) -> str:
    """``command`` with that evaluation for the one in the text."""
    return _EVALUATION.sub(evaluation_id, command)


def is_said(line: str, output: str) -> bool:
    """Whether ``output`` has ``line``, wherever a terminal has broken it; ``…`` stands for anything."""
    pattern = r".*?".join(map(re.escape, "".join(line.split()).split("…")))
    return re.search(pattern, "".join(output.split()), re.DOTALL) is not None


def _items(lines: list[str]) -> Iterator[Item]:
    rest = iter(lines)
    for line in rest:
        if line.startswith(_FENCE):
            block = takewhile(lambda each: each != _FENCE, rest)
            yield Item(line.removeprefix(_FENCE), tuple(block))
        else:
            yield Item(None, (line,))
