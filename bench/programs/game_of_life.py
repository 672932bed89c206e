from collections import Counter

Cell = tuple[int, int]


def after(alive: set[Cell]) -> set[Cell]:
    neighbours = Counter(
        (x + dx, y + dy) for x, y in alive for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy
    )
    return {cell for cell, count in neighbours.items() if count == 3 or (count == 2 and cell in alive)}


blinker = {(0, 1), (1, 1), (2, 1)}
assert after(blinker) == {(1, 0), (1, 1), (1, 2)}
assert after(after(blinker)) == blinker
glider = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
world = glider
for _ in range(40):
    world = after(world)
assert world == {(x + 10, y + 10) for x, y in glider}
