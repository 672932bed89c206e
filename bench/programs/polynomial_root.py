import math


def value(coefficients: list[float], x: float) -> float:
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def root(coefficients: list[float]) -> float:
    low, high = -1.0, 1.0
    while value(coefficients, low) * value(coefficients, high) > 0:
        low, high = low * 2, high * 2
    while high - low > 1e-10:
        middle = (low + high) / 2
        if value(coefficients, middle) * value(coefficients, low) > 0:
            low = middle
        else:
            high = middle
    return low


assert math.isclose(root([1, 2]), -0.5, rel_tol=1e-6)
assert math.isclose(root([-6, 11, -6, 1]), 1.0, rel_tol=1e-6)
assert abs(value([-2, 0, 0, 1], root([-2, 0, 0, 1]))) < 1e-6
