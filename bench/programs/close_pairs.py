from typing import List


def has_close_pair(numbers: List[float], distance: float) -> bool:
    ordered = sorted(numbers)
    return any(after - before < distance for before, after in zip(ordered, ordered[1:]))


assert has_close_pair([1.0, 2.0, 3.9, 4.0], 0.3)
assert not has_close_pair([1.0, 2.0, 3.9, 4.0], 0.05)
assert not has_close_pair([], 1.0)
assert has_close_pair([5.0, 5.0], 1e-9)
