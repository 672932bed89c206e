import heapq
import statistics
from typing import List


class Median:
    def __init__(self) -> None:
        self.low: List[float] = []
        self.high: List[float] = []

    def add(self, value: float) -> float:
        heapq.heappush(self.high, -heapq.heappushpop(self.low, -value))
        if len(self.high) > len(self.low):
            heapq.heappush(self.low, -heapq.heappop(self.high))
        if len(self.low) > len(self.high):
            return -self.low[0]
        return (self.high[0] - self.low[0]) / 2


median, seen = Median(), []
for number in (n * 37 % 101 for n in range(101)):
    seen.append(number)
    assert median.add(number) == statistics.median(seen)
