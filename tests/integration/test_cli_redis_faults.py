"""What users see when a Redis that they name answers with an error: one line with the remedy, and exit 4."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.in_process import Run, run
from tests.support.redis_faults import OPTIONS, busy, disk_full, forbidden, loading, out_of_memory, replica
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.valkey import Valkey

__all__ = ["run"]


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    """Where the server's data lie."""
    with small_disk() as made:
        yield made


@pytest.fixture(scope="module")
def server(disk: SmallDisk) -> Iterator[Valkey]:
    """The Redis of everything."""
    made = Valkey(*OPTIONS, disk=disk.folder)
    made.start()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program."""
    path = tmp_path / "program.py"
    path.write_text("print(1)")
    return path


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("BUSY", "SCRIPT KILL"),
        ("LOADING", "it reads its data from disk: wait"),
        ("NOPERM", "allow its user that command"),
    ],
)
def test_commands_that_look_into_redis(run: Run, server: Valkey, fault: str, words: str) -> None:
    faults: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "BUSY": lambda: busy(server),
        "LOADING": lambda: loading(server),
        "NOPERM": lambda: forbidden(server, "@read", "evalsha", "eval"),
    }
    with faults[fault]():
        for command in (("dlq", "list"), ("breakers",)):
            done = run(*command, REDIS_URL=server.url, CELERY_REDIS_URL=server.url)
            assert (done.code, done.stdout) == (4, ""), command
            assert_one_line(done.stderr, fault, words)


@pytest.mark.parametrize("fault", ["MISCONF", "READONLY", "OOM"])
def test_commands_that_run_programs(
    run: Run, server: Valkey, disk: SmallDisk, program: Path, fault: str
) -> None:
    faults: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "MISCONF": lambda: disk_full(server, disk),
        "READONLY": lambda: replica(server),
        "OOM": lambda: out_of_memory(server),
    }
    words = {"MISCONF": "MISCONF", "READONLY": "read only replica", "OOM": "maxmemory"}
    with faults[fault]():
        for command in (("evaluate", program), ("sweep", "corpora/bundled.jsonl")):
            done = run(*command, REDIS_URL=server.url, CELERY_REDIS_URL=server.url)
            assert (done.code, done.stdout) == (4, ""), command
            assert_one_line(done.stderr, words[fault], "REDIS_URL=")


def assert_one_line(said: str, *parts: str) -> None:
    """Holds ``said`` is one line that has all of ``parts``."""
    assert said.count("\n") == 1, said
    for part in parts:
        assert part in said
