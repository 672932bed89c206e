import os.path


def common_prefix(words: list[str]) -> str:
    if not words:
        return ""
    first, last = min(words), max(words)
    for index, character in enumerate(first):
        if character != last[index]:
            return first[:index]
    return first


assert common_prefix([]) == ""
assert common_prefix(["flower", "flow", "flight"]) == "fl"
assert common_prefix(["dog", "car"]) == ""
for words in (["abc"], ["abc", "abcd"], ["x" * 200 + "a", "x" * 200 + "b"]):
    assert common_prefix(words) == os.path.commonprefix(words)
