def group_anagrams(words: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault("".join(sorted(word)), []).append(word)
    return [sorted(group) for _, group in sorted(groups.items())]


assert group_anagrams([]) == []
assert group_anagrams(["eat", "tea", "tan", "ate", "nat", "bat"]) == [
    ["bat"],
    ["ate", "eat", "tea"],
    ["nat", "tan"],
]
assert group_anagrams(["", ""]) == [["", ""]]
