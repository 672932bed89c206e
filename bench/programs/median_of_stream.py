import heapq


class Median:
    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []

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
    middle = sorted(seen)[(len(seen) - 1) // 2 : len(seen) // 2 + 1]
    assert median.add(number) == sum(middle) / len(middle)
