from typing import List, NamedTuple


class Interval(NamedTuple):
    start: int
    end: int


def union(intervals: List[Interval]) -> List[Interval]:
    joined: List[Interval] = []
    for each in sorted(intervals):
        if joined and each.start <= joined[-1].end:
            joined[-1] = Interval(joined[-1].start, max(joined[-1].end, each.end))
        else:
            joined.append(each)
    return joined


assert union([]) == []
assert union([Interval(5, 8), Interval(1, 3), Interval(2, 4)]) == [(1, 4), (5, 8)]
assert union([Interval(n, n + 2) for n in range(0, 300, 2)]) == [(0, 300)]
