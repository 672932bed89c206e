"""One fault after another, each against the tests that execute it."""

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, NamedTuple

from tests.strength import hits
from tests.strength.areas import QUICK, STACK
from tests.strength.tree import ROOT, Done, Tree

_LEARNS_WITHIN_S = 3600
_ENDS_WITHIN_S = 400


class Stage(NamedTuple):
    """At most so many tests, and such as took so many seconds together when nothing was wrong."""

    name: str
    tests: int
    seconds: float
    timeout_s: int


_STAGES = (
    (Stage("first", tests=12, seconds=10, timeout_s=60), Stage("next", tests=200, seconds=60, timeout_s=60)),
    (Stage("on a stack", tests=3, seconds=60, timeout_s=240),),
)


class Trial:
    """Faults given as lines ``area<TAB>name``. What is known is kept in ``work``; it goes on from there."""

    def __init__(self, faults: Sequence[str], work: Path, jobs: int) -> None:
        self._faults = [each.split("\t") for each in faults]
        self._modules = {name.partition(":")[0] for _, name in self._faults}
        self._work, self._jobs, self._writing = work, jobs, Lock()
        self._trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(jobs):
            self._trees.put(Tree(work / f"tree-{number}"))
        self._file = work / "results.json"
        self.results: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._hits: dict[int, set[str]] = {}
        self._seconds: dict[str, float] = {}

    def run(self) -> None:
        """Try every fault that has no result yet; on a stack only what has survived all else."""
        numbers = range(len(self._faults))
        with ThreadPoolExecutor(self._jobs) as pool:
            for number, groups in enumerate((QUICK, (STACK,))):
                list(pool.map(self._learn, (f"hits-{number}-{each}" for each in range(len(groups))), groups))
                for folder in self._work.glob("hits-*"):
                    self._seconds |= {test: float(seconds) for seconds, test in hits.lines(folder, "passed")}
                    for index, test in hits.lines(folder, "hits-*"):
                        self._hits.setdefault(int(index), set()).add(test)
                list(pool.map(self._try, numbers, [_STAGES[number]] * len(numbers)))

    def _learn(self, name: str, tests: Sequence[str]) -> None:
        folder = self._work / name
        if (folder / "done").exists():
            return
        folder.mkdir(exist_ok=True)
        tree = self._trees.get()
        tree.restore(self._modules)
        names = {name: index for index, (_, name) in enumerate(self._faults)}
        for module in self._modules:
            tree.change(module, names)
        there = [each for each in tests if (ROOT / each).exists()]
        done = tree.test(there, _LEARNS_WITHIN_S, "--timeout=600", hits_in=folder)
        (folder / "done").write_text(done.output)
        tree.restore(self._modules)
        self._trees.put(tree)

    def _try(self, number: int, stages: Sequence[Stage]) -> None:
        area, name = self._faults[number]
        known = self.results.get(name, {"area": area, "outcome": "survived", "tried": []})
        if known["outcome"] != "survived" or stages[-1].name in known["tried"]:
            return
        tree, module = self._trees.get(), name.partition(":")[0]
        tree.restore(self._modules)
        if tree.change(module, {name: None}):
            result = self._caught(tree, number, stages, known["tried"])
        else:
            result = {"outcome": "gone"}
        tree.restore([module])
        self._trees.put(tree)
        with self._writing:
            self.results[name] = {"area": area, **result}
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(self.results, indent=1))
            new.rename(self._file)

    def _caught(
        self, tree: Tree, number: int, stages: Sequence[Stage], tried: Sequence[str]
    ) -> dict[str, Any]:
        executing = {each for each in self._hits.get(number, ()) if each in self._seconds}
        for stage in stages:
            tests = self._nearest(executing - {*tried}, stage)
            tried = [*tried, stage.name, *tests]
            if not tests:
                continue
            done = tree.test(tests, _ENDS_WITHIN_S, "-x", "--tb=line", f"--timeout={stage.timeout_s}")
            if done.code != 0:
                return {"outcome": "caught", "stage": stage.name, "by": _why(done)}
        return {"outcome": "survived", "executed_by": len(executing), "tried": tried}

    def _nearest(self, tests: Collection[str], stage: Stage) -> list[str]:
        """Those that execute the fewest other faults: they are more likely to be about this one."""
        of_stage = [each for each in tests if each.startswith(STACK) == (stage in _STAGES[1])]
        width = {test: sum(test in each for each in self._hits.values()) for test in of_stage}
        nearest: list[str] = []
        left_s = stage.seconds
        for test in sorted(width, key=lambda each: (width[each], self._seconds[each])):
            if len(nearest) < stage.tests and (not nearest or self._seconds[test] <= left_s):
                nearest.append(test)
                left_s -= self._seconds[test]
        return nearest


def _why(done: Done) -> str:
    if done.code is None:
        return "tests did not end"
    lines = done.output.splitlines() or [""]
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return failed[0] if failed else f"exit {done.code}: {lines[-1]}"
