import heapq


def merged(runs: list[list[int]]) -> list[int]:
    heap = [(run[0], number, 0, run) for number, run in enumerate(runs) if run]
    heapq.heapify(heap)
    result = []
    while heap:
        value, number, index, run = heapq.heappop(heap)
        result.append(value)
        if index + 1 < len(run):
            heapq.heappush(heap, (run[index + 1], number, index + 1, run))
    return result


parts = [sorted(number * factor % 997 for number in range(50)) for factor in range(11, 19)]
assert merged([]) == []
assert merged(parts) == list(heapq.merge(*parts))
