import re
from collections import Counter

TEXT = """The one who owns the queue owns the night; the one who leaves the queue
leaves the night to the others. Nobody owns a queue alone."""


def most_common(text: str, number: int) -> list[tuple[str, int]]:
    words = Counter(re.findall(r"[a-z]+", text.lower()))
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:number]


assert most_common("", 3) == []
assert most_common(TEXT, 3) == [("the", 7), ("owns", 3), ("queue", 3)]
assert sum(count for _, count in most_common(TEXT, 100)) == len(re.findall(r"\w+", TEXT))
