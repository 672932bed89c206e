from typing import List, Tuple


def most_value(items: List[Tuple[int, int]], capacity: int) -> int:
    best = [0] * (capacity + 1)
    for weight, value in items:
        for room in range(capacity, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return best[capacity]


assert most_value([], 10) == 0
assert most_value([(5, 10), (4, 40), (6, 30), (3, 50)], 10) == 90
assert most_value([(n, n * n) for n in range(1, 21)], 60) == 1094
assert most_value([(1, 1)] * 50, 30) == 30
