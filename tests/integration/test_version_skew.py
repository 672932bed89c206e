"""Old and new at once, as while an upgrade is under way: workers of the version before, and its flow host."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from shutil import which

import pytest

from crucible.store import sqlite_url
from deployments.stack import StackState, prefect_client_environment
from tests.support.command_line import ROOT, CommandLine
from tests.support.stacks import client_of
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

OLD = "7337a143ab554492c1a505ba500b75e469bf7b0e"
"""The version before traces, keys and the dashboard; its messages carry no trace."""

NEW_WORKERS = ("legacy-worker-1", "legacy-worker-2", "celery-worker")
PROGRAM = {"language": "python", "code": "print(6 * 7)"}
MANY = 20


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the version before."""
    folder = tmp_path_factory.mktemp("old")
    git = which("git") or "/usr/bin/git"
    archive = subprocess.run([git, "archive", OLD], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"this checkout has no history back to {OLD[:7]}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


def test_workers_of_the_version_before_run_what_this_version_sends(
    crucible: CommandLine, stack: StackState, old_tree: Path
) -> None:
    with ExitStack() as around:
        for each in NEW_WORKERS:
            around.enter_context(crucible.frozen(each))
        for module in ("tasks.legacy_leg.worker", "tasks.celery_leg.worker"):
            around.enter_context(old_process(old_tree, stack, module))
        with client_of(stack) as api:
            taken = api.post("/evaluations", json=[PROGRAM] * MANY).raise_for_status().json()
            asked = [f"/evaluations/{each['id']}" for each in taken]
            patiently(lambda: all(api.get(each).json()["status"] == "settled" for each in asked))
            found = [api.get(each).json()["classification"] for each in asked]
    assert found == ["match"] * MANY


def test_a_flow_host_of_the_version_before_is_answered_by_workers_of_this_one(
    stack: StackState, old_tree: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": f"skew-{number}", **PROGRAM}) for number in range(MANY)]
    corpus.write_text("\n".join(lines) + "\n")
    (tmp_path / "client").mkdir()
    settings = {
        **prefect_client_environment(tmp_path / "client", stack.prefect_api_url),
        "BENCH_DATABASE_URL": sqlite_url(tmp_path / "old.db"),
        "BENCH_REDIS_URL": stack.redis_url,
        "BENCH_CELERY_REDIS_URL": stack.celery_redis_url,
    }
    order = json.dumps({"corpus": str(corpus), "languages": {"python": "3"}})
    with old_process(old_tree, stack, "bench.contenders.sweep", **settings) as host:
        said, _ = host.communicate(f"{order}\n", timeout=200)
    assert json.loads(said.splitlines()[-1])["matched"] == MANY


@contextmanager
def old_process(
    old_tree: Path, state: StackState, module: str, **settings: str
) -> Iterator["subprocess.Popen[str]"]:
    """A process of the version before that uses the servers and executors of ``state``."""
    first, second, third = state.executor_urls
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRUCIBLE_")},
        "PYTHONPATH": str(old_tree),
        "CRUCIBLE_REDIS_URL": state.redis_url,
        "CRUCIBLE_CELERY_REDIS_URL": state.celery_redis_url,
        "CRUCIBLE_EXECUTOR_TOKEN": state.executor_token,
        "CRUCIBLE_LEGACY_EXECUTOR_URLS": f"{first},{second}",
        "CRUCIBLE_CELERY_EXECUTOR_URL": third,
        "CRUCIBLE_WORKER_NAME": "old",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        cwd=old_tree,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)
