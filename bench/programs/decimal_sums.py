from decimal import ROUND_HALF_EVEN, Decimal


def total(prices: list[str], rate: str) -> Decimal:
    net = sum((Decimal(price) for price in prices), Decimal(0))
    return (net * (1 + Decimal(rate))).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


assert total([], "0.19") == Decimal("0.00")
assert total(["0.10"] * 3, "0") == Decimal("0.30")
assert total(["19.99", "5.01"], "0.19") == Decimal("29.75")
assert total(["0.005"], "0") == Decimal("0.00")
