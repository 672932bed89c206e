import math


def fewest_coins(amount: int, coins: list[int]) -> int:
    best: list[float] = [0] + [math.inf] * amount
    for coin in coins:
        for part in range(coin, amount + 1):
            best[part] = min(best[part], best[part - coin] + 1)
    return -1 if best[amount] == math.inf else int(best[amount])


assert fewest_coins(0, [1, 5]) == 0
assert fewest_coins(63, [1, 5, 10, 21, 25]) == 3
assert fewest_coins(7, [2, 4]) == -1
assert fewest_coins(999, [1, 2, 5, 10, 20, 50, 100, 200]) == 11
