Interval = tuple[int, int]


def union(intervals: list[Interval]) -> list[Interval]:
    joined: list[Interval] = []
    for each in sorted(intervals):
        if joined and each[0] <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], each[1]))
        else:
            joined.append(each)
    return joined


assert union([]) == []
assert union([(5, 8), (1, 3), (2, 4)]) == [(1, 4), (5, 8)]
assert union([(n, n + 2) for n in range(0, 300, 2)]) == [(0, 300)]
