import heapq
import random
from typing import Iterable, List


def merged(runs: Iterable[List[int]]) -> List[int]:
    heap = [(run[0], number, 0, run) for number, run in enumerate(runs) if run]
    heapq.heapify(heap)
    result = []
    while heap:
        value, number, index, run = heapq.heappop(heap)
        result.append(value)
        if index + 1 < len(run):
            heapq.heappush(heap, (run[index + 1], number, index + 1, run))
    return result


dice = random.Random(7)
parts = [sorted(dice.randrange(1000) for _ in range(50)) for _ in range(8)]
assert merged([]) == []
assert merged(parts) == list(heapq.merge(*parts))
