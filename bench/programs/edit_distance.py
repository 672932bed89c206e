from functools import lru_cache


def distance(left: str, right: str) -> int:
    @lru_cache(maxsize=None)
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i or j
        if left[i - 1] == right[j - 1]:
            return between(i - 1, j - 1)
        return 1 + min(between(i - 1, j), between(i, j - 1), between(i - 1, j - 1))

    return between(len(left), len(right))


assert distance("", "abc") == 3
assert distance("kitten", "sitting") == 3
assert distance("intention", "execution") == 5
assert distance("a" * 40, "b" * 40) == 40
