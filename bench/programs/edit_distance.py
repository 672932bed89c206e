def distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


assert distance("", "abc") == 3
assert distance("kitten", "sitting") == 3
assert distance("intention", "execution") == 5
assert distance("a" * 40, "b" * 40) == 40
