"""One fault after another, each against the tests that execute it."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, NamedTuple

from tests.strength import hits
from tests.strength.areas import QUICK, STACK
from tests.strength.tree import Runner, Tree

_SLOWER = 5
_STARTS_WITHIN_S = 120


class Most(NamedTuple):
    """At most so many tests for a fault, and such as took so many seconds together when nothing was wrong."""

    tests: int
    seconds: float


class _Order(NamedTuple):
    """Try one fault with these tests."""

    name: str
    tests: Sequence[str]
    within_s: float


class _Orders(NamedTuple):
    """What a round has to try, and all files of its tests."""

    number: int
    left: SimpleQueue[_Order]
    files: set[str]


_ROUNDS = ((QUICK, Most(tests=40, seconds=60)), ((STACK,), Most(tests=3, seconds=60)))


class Trial:
    """Faults given as lines ``area<TAB>name``. What is known is kept in ``work``; it goes on from there."""

    def __init__(self, faults: Sequence[str], work: Path, jobs: int) -> None:
        self._areas = {name: area for area, name in (each.split("\t") for each in faults)}
        self._modules = {name.partition(":")[0] for name in self._areas}
        self._work, self._writing = work, Lock()
        self._trees = [Tree(work / f"tree-{number}") for number in range(jobs)]
        self._file = work / "results.json"
        self.results: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def run(self) -> None:
        """Try every fault that has no result yet; on a stack only what has survived all else."""
        with ThreadPoolExecutor(len(self._trees)) as pool:
            for number, (groups, most) in enumerate(_ROUNDS):
                free: SimpleQueue[Tree] = SimpleQueue()
                for tree in self._trees:
                    free.put(tree)
                folders = [self._work / f"hits-{number}-{index}" for index in range(len(groups))]
                list(pool.map(partial(self._learn, free), folders, groups))
                list(pool.map(partial(self._try_all, self._orders(folders, number, most)), self._trees))

    def _learn(self, free: SimpleQueue[Tree], folder: Path, tests: Sequence[str]) -> None:
        if (folder / "done").exists():
            return
        folder.mkdir(exist_ok=True)
        tree = free.get()
        tree.restore(self._modules)
        marks = {name: index for index, name in enumerate(self._areas)}
        for module in self._modules:
            tree.change(module, marks)
        (folder / "done").write_text(tree.learn(tests, folder))
        tree.restore(self._modules)
        free.put(tree)

    def _orders(self, folders: Sequence[Path], number: int, most: Most) -> _Orders:
        took: dict[str, float] = {}
        executing: dict[str, set[str]] = {name: set() for name in self._areas}
        names = list(self._areas)
        for folder in folders:
            took |= {test: float(seconds) for seconds, test in hits.lines(folder, "passed")}
            for index, test in hits.lines(folder, "hits-*"):
                executing[names[int(index)]].add(test)
        width = Counter(test for tests in executing.values() for test in tests)
        pending = [name for name in names if self._is_open(name, number)]
        orders = _Orders(number, SimpleQueue(), set())
        for name in pending:
            # What executes few other faults is the likeliest to be about this one; files take turns, as the
            # tests of one look at the same things. A Postgres server is slow to start and adds little.
            near = sorted(executing[name] & took.keys(), key=lambda each: (width[each], took[each]))
            turns: Counter[str] = Counter()
            turn = {test: _next(turns, test.partition("::")[0]) for test in near}
            tests = sorted(near, key=lambda each: ("[postgres" in each, turn[each]))
            left_s, some = most.seconds, []
            for test in tests:
                if len(some) < most.tests and (not some or took[test] <= left_s):
                    some.append(test)
                    left_s -= took[test]
            orders.left.put(_Order(name, some, _STARTS_WITHIN_S + _SLOWER * sum(took[each] for each in some)))
            orders.files.update(each.partition("::")[0] for each in some)
        return orders

    def _is_open(self, name: str, number: int) -> bool:
        known = self.results.get(name)
        return known is None or (known["outcome"] == "survived" and known["round"] < number)

    def _try_all(self, orders: _Orders, tree: Tree) -> None:
        tree.restore(self._modules)
        if orders.left.empty():
            return
        with tree.collected(sorted(orders.files)) as run, suppress(Empty):
            while True:
                self._try(tree, run, orders.left.get_nowait(), orders.number)

    def _try(self, tree: Tree, run: Runner, order: _Order, number: int) -> None:
        module = order.name.partition(":")[0]
        result: dict[str, Any] = {"outcome": "gone"}
        if tree.change(module, {order.name: None}):
            failed = run(module, order.tests, order.within_s) if order.tests else None
            result = {"outcome": "caught", "by": failed} if failed else {"outcome": "survived"}
        tree.restore([module])
        with self._writing:
            tried = {"round": number, "tests": len(order.tests)}
            self.results[order.name] = {"area": self._areas[order.name], **result, **tried}
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(self.results, indent=1))
            new.rename(self._file)


def _next(turns: Counter[str], of: str) -> int:
    turns[of] += 1
    return turns[of]
