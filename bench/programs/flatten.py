def flat(value: object) -> list[object]:
    if isinstance(value, list):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


nested: list[object] = []
for depth in range(100):
    nested = [depth, nested]
assert flat([]) == []
assert flat([1, [2, [3, [4]]], 5]) == [1, 2, 3, 4, 5]
assert flat(nested) == list(range(99, -1, -1))
