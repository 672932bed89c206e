from itertools import permutations
from math import factorial


def following(items: list[int]) -> bool:
    falls = [index for index in range(len(items) - 1) if items[index] < items[index + 1]]
    if not falls:
        return False
    pivot = falls[-1]
    larger = max(index for index in range(len(items)) if items[index] > items[pivot] and index > pivot)
    items[pivot], items[larger] = items[larger], items[pivot]
    items[pivot + 1 :] = reversed(items[pivot + 1 :])
    return True


items = list(range(6))
seen = [tuple(items)]
while following(items):
    seen.append(tuple(items))
assert len(seen) == factorial(6)
assert seen == list(permutations(range(6)))
