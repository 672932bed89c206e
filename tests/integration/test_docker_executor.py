"""An executor with the Docker sandbox says what one with the process sandbox says."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from crucible.models import Evaluation, Observation
from crucible.settings import ExecutorSettings
from executors.executor import Executor
from executors.sandbox.docker.images import FAMILIES
from tests.support.command_line import CommandLine
from tests.support.programs import PYTHON

pytestmark = pytest.mark.usefixtures("docker_host")

_BUNDLED = Path(__file__).parents[2] / "corpora" / "bundled.jsonl"
_EVERY = 4
_COMPARED = ("outcome", "exit_code", "signal", "stdout", "stderr", "stdout_truncated", "stderr_truncated")


@asynccontextmanager
async def opened(sandbox: str) -> AsyncIterator[Executor]:
    settings = ExecutorSettings(sandbox=sandbox, name=f"same-{sandbox}", slots=2, python=PYTHON)
    executor = Executor(settings)
    try:
        await executor.open(["python", "bash", "c", "cpp"])
        yield executor
    finally:
        await executor.close()


def comparable(executor: Executor) -> list[Evaluation]:
    """Every so many bundled programs that say the same each time and need nothing that differs by image."""
    lines = _BUNDLED.read_bytes().splitlines()  # text has other line ends than JSON Lines
    evaluations = [Evaluation.model_validate(json.loads(line)) for line in lines]
    found = [
        each
        for each in evaluations
        if each.language in executor.versions and each.expect.deterministic is not False
    ]
    return found[::_EVERY]


async def observed(executor: Executor, evaluations: list[Evaluation]) -> list[Observation]:
    return await asyncio.gather(
        *(
            executor.execute(each.id, each.language, each.code, each.stdin, each.limits)
            for each in evaluations
        )
    )


async def test_both_sandboxes_observe_the_same_of_the_same_programs() -> None:
    async with AsyncExitStack() as stack:
        process, docker = [await stack.enter_async_context(opened(name)) for name in ("process", "docker")]
        evaluations = comparable(process)
        assert len(evaluations) > 40
        pairs = zip(await observed(process, evaluations), await observed(docker, evaluations), strict=True)
        differ = {
            evaluation.id: {field: (getattr(one, field), getattr(other, field)) for field in fields}
            for evaluation, (one, other) in zip(evaluations, pairs, strict=True)
            if (fields := [name for name in _COMPARED if getattr(one, name) != getattr(other, name)])
        }
    assert differ == {}


@pytest.fixture
def crucible(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path / "home")
    yield line
    line.close()


def test_execute_runs_a_program_in_a_container(crucible: CommandLine) -> None:
    order = json.dumps({"language": "bash", "code": "read -r word; echo $word; exit 9", "stdin": "heard\n"})
    seen = crucible.run("execute", "-", "--sandbox", "docker", stdin=order)
    assert seen.code == 0, seen.stderr
    observation = Observation.model_validate_json(seen.stdout)
    assert (observation.exit_code, observation.stdout) == (9, b"heard\n")
    assert observation.isolation_level.startswith(("containers", "gvisor"))


def test_images_that_are_built_are_listed_so(crucible: CommandLine) -> None:
    listed = crucible.run("images", "list", "--json").document["images"]
    assert {each["family"] for each in listed} == set(FAMILIES)
    assert all(each["id"] for each in listed)
    again = crucible.run("images", "build", "script", "--json")
    assert again.code == 0, again.stderr
    assert again.document["images"] == listed


def test_images_of_no_family_are_bad_input(crucible: CommandLine) -> None:
    seen = crucible.run("images", "build", "cobol")
    assert (seen.code, seen.stdout) == (2, "")
    assert "cobol" in seen.stderr
    assert seen.stderr.count("\n") == 1


def test_without_a_daemon_images_say_what_is_missing(crucible: CommandLine) -> None:
    nobody = crucible.home.parent / "nobody.sock"
    away = crucible.with_environment(DOCKER_HOST=f"unix://{nobody}")
    for words in (("images", "list"), ("images", "build", "script")):
        seen = away.run(*words)
        assert seen.code == 4
        assert "Docker daemon does not answer" in seen.stderr
        assert "DOCKER_HOST" in seen.stderr
