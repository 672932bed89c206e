"""No loop runs beside the background services: whatever starts a task or a thread is listed here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("api", "cli", "crucible", "deployments", "executors", "flows", "tasks")
STARTERS = {"create_task", "ensure_future", "Thread", "Timer", "start_new_thread", "run_coroutine_threadsafe"}

ALLOWED = {
    "api/server.py serve": "the server itself: the process ends with it",
    "cli/foreground.py run": "one command; the main thread waits for it and raises what it raises",
    "cli/sweeping.py watched": "one flow; the command waits for it",
    "deployments/stack/supervisor.py Supervisor.start": "start waits for these, and fails with them",
    "deployments/stack/supervisor.py seen_through": "one piece of work; the caller waits for it",
    "executors/run_once.py _ended_by_signals": "one program; the caller waits for it",
    "executors/sandbox/docker/pool.py Pool._spawn": "one container; its failure is logged",
    "executors/sandbox/docker/pool.py Pool._started": "one container; whoever takes it waits for it",
    "executors/service/__main__.py _serve": "the server itself: the process ends with it",
    "executors/service/queue.py Answers.get": "one program; whoever asked waits for it",
    "executors/service/batch.py Batch.run": "programs of one request, which waits for them",
    "executors/service/batch.py Lines.__call__": "one connection; the request waits for it",
    "flows/confirm.py confirm_mismatches": "groups of one flow, which waits for them",
    "flows/controller.py embedded_controller": "a whole process's work, in this one",
    "flows/duties/reruns.py Confirmation.round": "one group of mismatches; its failure is logged",
    "flows/duties/reruns.py _on_legacy": "the runs of one round, which waits for them",
    "flows/process.py call_on_ending": "waits for one signal; there is nothing that could fail",
    "flows/evaluate.py seen_through": "the legs of one flow, which waits for them",
    "flows/batching.py FlowRunBatcher._run": "one flow run; its failure is logged",
    "flows/flow_runs.py FlowRuns.run": "the body of one flow run, which waits for it",
    "flows/serving.py _work": "Prefect's worker itself: the process ends with it",
    "flows/sweep.py _run_all": "batches of one flow, which waits for them",
    "flows/worker.py WarmWorker.leave": "ends of flow runs, waited for at once",
    "tasks/background.py BackgroundServices.__init__": "a type, in an annotation",
    "tasks/background.py BackgroundServices.keep": "a background service",
    "tasks/background.py BackgroundServices.keep_in_thread": "a background service",
    "tasks/batch.py Batch.ask_ahead": "one batch on one leg; its flow run waits for it",
    "tasks/celery_leg/worker.py CeleryWorker._on_shutting_down": "ends the process, once",
    "tasks/exchange.py Exchange._resend_later": "one message; its deadline is watched",
    "tasks/exchange.py Exchange.ask": "one message; the caller waits for it",
    "tasks/cancellation.py see_through": "one piece of work; the caller waits for it",
}
"""What may start a task or a thread: work that has an end, and whose failure somebody sees."""


def starting(path: Path) -> Iterator[str]:
    """Where ``path`` starts a task or a thread: the file, and the function or method."""

    def look(node: ast.AST, inside: tuple[str, ...]) -> Iterator[str]:
        for each in ast.iter_child_nodes(node):
            name = called(each)
            if name in STARTERS:
                yield f"{path.relative_to(ROOT)} {'.'.join(inside)}"
            is_scope = isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            yield from look(each, (*inside, each.name) if is_scope else inside)

    yield from look(ast.parse(path.read_text()), ())


def called(node: ast.AST) -> str | None:
    """The last part of the name of what ``node`` calls, or merely names, as one who imports it does."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


@pytest.fixture(scope="module")
def found() -> set[str]:
    return {
        each
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        for each in starting(path)
    }


def test_nothing_starts_a_task_or_a_thread_but_what_is_listed(found: set[str]) -> None:
    assert not sorted(found - ALLOWED.keys()), "use BackgroundServices for a loop; see docs/reliability.md"


def test_nothing_is_listed_that_is_gone(found: set[str]) -> None:
    assert not sorted(ALLOWED.keys() - found)


def test_a_new_loop_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    source = tmp_path / "loops.py"
    source.write_text(
        "import threading\nfrom asyncio import create_task as begin\n"
        "class Loop:\n    def open(self) -> None:\n        self.it = asyncio.create_task(self.run())\n"
        "    def start(self) -> None:\n        make = threading.Thread\n        make(target=self.run)\n"
    )
    assert set(starting(source)) == {"loops.py Loop.open", "loops.py Loop.start"}
