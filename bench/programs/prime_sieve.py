from math import isqrt


def primes_below(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(min(2, limit))
    for number in range(2, isqrt(max(limit - 1, 0)) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


assert primes_below(0) == []
assert primes_below(3) == [2]
assert primes_below(30) == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
assert len(primes_below(10_000)) == 1229
