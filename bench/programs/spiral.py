from typing import Iterator, List


def spiral(grid: List[List[int]]) -> Iterator[int]:
    while grid:
        yield from grid[0]
        grid = [list(column) for column in zip(*grid[1:])][::-1]


assert list(spiral([])) == []
assert list(spiral([[1, 2, 3], [4, 5, 6], [7, 8, 9]])) == [1, 2, 3, 6, 9, 8, 7, 4, 5]
numbers = [[row * 20 + column for column in range(20)] for row in range(20)]
assert sorted(spiral(numbers)) == list(range(400))
