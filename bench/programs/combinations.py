from itertools import combinations, product
from math import comb
from typing import Iterator, Tuple


def hands(cards: Tuple[str, ...], size: int) -> Iterator[Tuple[str, ...]]:
    if size == 0:
        yield ()
    for index, card in enumerate(cards):
        for rest in hands(cards[index + 1 :], size - 1) if size else ():
            yield (card, *rest)


deck = tuple("".join(pair) for pair in product("23456", "CS"))
for size in range(5):
    assert list(hands(deck, size)) == list(combinations(deck, size))
    assert sum(1 for _ in hands(deck, size)) == comb(len(deck), size)
