from bisect import bisect_left


def find(numbers: list[int], wanted: int) -> int | None:
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(numbers) and numbers[low] == wanted else None


evens = list(range(0, 2000, 2))
assert find([], 1) is None
assert find(evens, 1998) == 999
for number in range(0, 2000, 7):
    place = bisect_left(evens, number)
    assert find(evens, number) == (place if number % 2 == 0 else None)
