from collections import defaultdict
from heapq import heappop, heappush
from typing import Dict, List, Set, Tuple


def order(edges: List[Tuple[str, str]]) -> List[str]:
    after: Dict[str, Set[str]] = defaultdict(set)
    needs: Dict[str, int] = defaultdict(int)
    for first, then in edges:
        after[first].add(then)
        needs[then] += 1
        needs[first] += 0
    ready = sorted(name for name, number in needs.items() if number == 0)
    done = []
    while ready:
        done.append(heappop(ready))
        for name in after[done[-1]]:
            needs[name] -= 1
            if not needs[name]:
                heappush(ready, name)
    return done if len(done) == len(needs) else []


assert order([]) == []
assert order([("b", "d"), ("a", "c"), ("c", "d")]) == ["a", "b", "c", "d"]
assert order([("a", "b"), ("b", "a")]) == []
