from fractions import Fraction
from math import ceil


def unit_fractions(value: Fraction) -> list[int]:
    found = []
    while value:
        denominator = ceil(1 / value)
        found.append(denominator)
        value -= Fraction(1, denominator)
    return found


assert unit_fractions(Fraction(2, 3)) == [2, 6]
assert unit_fractions(Fraction(6, 14)) == [3, 11, 231]
assert sum(Fraction(1, each) for each in unit_fractions(Fraction(4, 13))) == Fraction(4, 13)
