def placements(size: int, row: int = 0, taken: frozenset[str] = frozenset()) -> int:
    if row == size:
        return 1
    found = 0
    for column in range(size):
        lines = {f"c{column}", f"d{row - column}", f"u{row + column}"}
        if not lines & taken:
            found += placements(size, row + 1, taken | lines)
    return found


assert placements(1) == 1
assert placements(3) == 0
assert placements(6) == 4
