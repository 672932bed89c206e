from itertools import combinations, product
from math import comb


def hands(cards: tuple[str, ...], size: int) -> list[tuple[str, ...]]:
    if size == 0:
        return [()]
    return [(card, *rest) for index, card in enumerate(cards) for rest in hands(cards[index + 1 :], size - 1)]


deck = tuple("".join(pair) for pair in product("23456", "CS"))
for size in range(5):
    assert hands(deck, size) == list(combinations(deck, size))
    assert len(hands(deck, size)) == comb(len(deck), size)
