from itertools import groupby
from typing import List, Tuple


def encoded(text: str) -> List[Tuple[str, int]]:
    return [(character, len(list(run))) for character, run in groupby(text)]


def decoded(runs: List[Tuple[str, int]]) -> str:
    return "".join(character * count for character, count in runs)


assert encoded("") == []
assert encoded("aaab") == [("a", 3), ("b", 1)]
for text in ("abc" * 100, "x" * 1000, "aabbccdd", "\n\n\t"):
    assert decoded(encoded(text)) == text
