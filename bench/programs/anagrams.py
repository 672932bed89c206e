from collections import defaultdict
from typing import Dict, List


def group_anagrams(words: List[str]) -> List[List[str]]:
    groups: Dict[str, List[str]] = defaultdict(list)
    for word in words:
        groups["".join(sorted(word))].append(word)
    return [sorted(group) for _, group in sorted(groups.items())]


assert group_anagrams([]) == []
assert group_anagrams(["eat", "tea", "tan", "ate", "nat", "bat"]) == [
    ["bat"],
    ["ate", "eat", "tea"],
    ["nat", "tan"],
]
assert group_anagrams(["", ""]) == [["", ""]]
