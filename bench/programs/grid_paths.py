from collections import deque


def shortest(grid: list[str]) -> int | None:
    goal = (len(grid) - 1, len(grid[0]) - 1)
    waiting, seen = deque([((0, 0), 0)]), {(0, 0)}
    while waiting:
        (row, column), steps = waiting.popleft()
        if (row, column) == goal:
            return steps
        for place in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= place[0] <= goal[0] and 0 <= place[1] <= goal[1]
            if inside and place not in seen and grid[place[0]][place[1]] == ".":
                seen.add(place)
                waiting.append((place, steps + 1))
    return None


assert shortest(["."]) == 0
assert shortest(["..#", "#..", "##."]) == 4
assert shortest([".#", "#."]) is None
assert shortest(["." * 30] * 30) == 58
