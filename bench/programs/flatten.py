def flat(value):
    if isinstance(value, list):
        for each in value:
            yield from flat(each)
    else:
        yield value


nested: list = []
for depth in range(100):
    nested = [depth, nested]
assert list(flat([])) == []
assert list(flat([1, [2, [3, [4]]], 5])) == [1, 2, 3, 4, 5]
assert list(flat(nested)) == list(range(99, -1, -1))
