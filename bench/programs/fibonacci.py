from functools import lru_cache


@lru_cache(maxsize=None)
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


a, b = 0, 1
for n in range(200):
    assert fibonacci(n) == a
    a, b = b, a + b
assert fibonacci(90) == 2880067194370816120
