"""Real programs of every language, through an executor and each of its sandboxes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from crucible.models import Limits, Observation, Outcome
from crucible.settings import ExecutorSettings
from executors.executor import Executor
from executors.languages import LANGUAGES
from executors.sandbox.interface import Program
from executors.sandbox.supervision.files import File
from tests.support.language_programs import BROKEN, ECHO, THREADS, UNCAUGHT

pytestmark = pytest.mark.asyncio(loop_scope="module")

EACH = pytest.mark.parametrize("language", LANGUAGES)
SIGNALLED = {"c", "cpp"}
"""Languages whose uncaught errors end the program by a signal; in the others it exits with a code."""
BYTES = "ein ü, ein 語, NUL \0, no end of line".encode() * 5000
ROOMY = Limits(memory_mb=1024, processes=256, wall_s=60, cpu_s=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["process", "docker"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    if request.param == "docker":
        request.getfixturevalue("docker_host")
    opened = Executor(ExecutorSettings(name="under-test", token="token", slots=2, sandbox=request.param))
    try:
        await opened.open()
        for name in LANGUAGES.keys() - opened.versions.keys():
            # It has tried all at once, which is too much at times where other tests run as well.
            if version := await opened._try(LANGUAGES[name]):
                opened.versions[name] = version
        yield opened
    finally:
        await opened.close()


class Counted:
    """Counts from now on the compilations of ``executor``, all of which its sandbox still does."""

    def __init__(self, executor: Executor) -> None:
        self.run_ids: list[str] = []
        self._compile = executor._sandbox.compile
        executor._sandbox.compile = self.compile  # type: ignore[method-assign]

    async def compile(self, program: Program, run_id: str) -> tuple[Observation, tuple[File, ...]]:
        self.run_ids.append(run_id)
        return await self._compile(program, run_id)


async def run(executor: Executor, language: str, code: str, stdin: bytes = b"") -> Observation:
    if language not in executor.versions:
        pytest.skip(f"{language} does not work here")
    return await executor.execute(f"{language}-run", language, code, stdin.decode(), ROOMY)


@EACH
async def test_stdin_passes_through_byte_for_byte_and_the_exit_code_comes_back(
    executor: Executor, language: str
) -> None:
    seen = await run(executor, language, ECHO[language], BYTES)
    assert (seen.outcome, seen.exit_code, seen.stderr) == (Outcome.NONZERO_EXIT, 7, b"")
    assert seen.stdout == BYTES


@EACH
async def test_an_error_nobody_handles_is_told_as_the_language_tells_it(
    executor: Executor, language: str
) -> None:
    seen = await run(executor, language, UNCAUGHT[language])
    if language in SIGNALLED:
        assert (seen.outcome, seen.signal) == (Outcome.SIGNALLED, "SIGABRT")
    else:
        assert (seen.outcome, bool(seen.exit_code)) == (Outcome.NONZERO_EXIT, True)
    assert b"nobody handles this" in seen.stderr


@pytest.mark.parametrize("language", [name for name, each in LANGUAGES.items() if each.compile])
async def test_what_its_compiler_refuses_is_a_compile_error_with_the_reason(
    executor: Executor, language: str
) -> None:
    seen = await run(executor, language, BROKEN[language])
    assert (seen.outcome, seen.stdout) == (Outcome.COMPILE_ERROR, b"")
    assert b"undeclared" in seen.stderr


@pytest.mark.parametrize("language", THREADS)
async def test_threads_work(executor: Executor, language: str) -> None:
    seen = await run(executor, language, THREADS[language])
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"328350\n", b"")


async def test_a_program_is_compiled_once_and_run_in_surroundings_of_its_own_each_time(
    executor: Executor,
) -> None:
    code = """
#include <stdio.h>
int main(void) {
    int first = fopen("/box/left", "r") == NULL;
    fputs(first ? "first" : "again", stdout);
    fclose(fopen("/box/left", "w"));
}
"""
    compiled = Counted(executor)
    seen = [await run(executor, "c", code) for _ in range(3)]
    assert [each.stdout for each in seen] == [b"first"] * 3
    assert compiled.run_ids == ["c-run"]


async def test_a_compiler_that_failed_is_asked_again(executor: Executor) -> None:
    compiled = Counted(executor)
    for _ in range(2):
        assert (await run(executor, "c", "again")).outcome is Outcome.COMPILE_ERROR
    assert compiled.run_ids == ["c-run"] * 2


async def test_hash_order_is_the_same_in_every_run(executor: Executor) -> None:
    code = "print join ' ', keys %{{ map { $_ => 1 } 1 .. 50 }}"
    orders = {(await run(executor, "perl", code)).stdout for _ in range(5)}
    assert len(orders) == 1


async def test_programs_see_what_makes_two_runs_agree(executor: Executor) -> None:
    seen = await run(executor, "bash", "env")
    environment = dict(line.split("=", 1) for line in seen.stdout.decode().splitlines())
    fixed = {"TZ": "UTC", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0"}
    single = {name: "1" for name in environment if name.endswith("_THREADS")}
    assert len(single) == 5
    assert environment | fixed | single == environment
