import math
from functools import reduce


def divisor_of_all(numbers: list[int]) -> int:
    def of_two(a: int, b: int) -> int:
        while b:
            a, b = b, a % b
        return abs(a)

    return reduce(of_two, numbers, 0)


assert divisor_of_all([]) == 0
assert divisor_of_all([12, 18, 30]) == 6
for a in range(1, 60):
    for b in range(1, 60):
        assert divisor_of_all([a, b]) == math.gcd(a, b)
