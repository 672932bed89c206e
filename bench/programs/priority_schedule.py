def order(edges: list[tuple[str, str]]) -> list[str]:
    after: dict[str, set[str]] = {}
    needs: dict[str, int] = {}
    for first, then in sorted(set(edges)):
        after.setdefault(first, set()).add(then)
        needs[then] = needs.get(then, 0) + 1
        needs.setdefault(first, 0)
    ready = sorted(name for name, number in needs.items() if number == 0)
    done = []
    while ready:
        done.append(ready.pop(0))
        for name in sorted(after.get(done[-1], ())):
            needs[name] -= 1
            if not needs[name]:
                ready.append(name)
        ready.sort()
    return done if len(done) == len(needs) else []


assert order([]) == []
assert order([("b", "d"), ("a", "c"), ("c", "d")]) == ["a", "b", "c", "d"]
assert order([("a", "b"), ("b", "a")]) == []
