"""Programs that are large, empty, or unkind to whoever reads what they say."""

import hashlib

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1 << 20


async def test_a_source_of_eight_megabytes_with_ten_of_input_runs(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * (10 * MIB // 256)
    source = "exec sha256sum\n" + "#" * (8 * MIB)
    seen = await sandbox.run(shell(source, data), "large")
    assert (seen.outcome, seen.stdout.split()[0]) == (Outcome.OK, hashlib.sha256(data).hexdigest().encode())


@pytest.mark.parametrize("source", ["", "\n", "#"])
async def test_an_empty_program_is_a_program(sandbox: Sandbox, source: str) -> None:
    for program in (python(source), shell(source)):
        seen = await sandbox.run(program, "empty")
        assert (seen.outcome, seen.exit_code, seen.stdout, seen.stderr) == (Outcome.OK, 0, b"", b"")


async def test_output_that_is_closed_with_a_child_still_writing_is_read_to_the_end_of_the_program(
    sandbox: Sandbox,
) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    time.sleep(0.2); os.write(1, b'child'); os._exit(0)\n"
        "os.close(1); os.wait(); time.sleep(0.1)\n"
        "os._exit(5)"
    )
    seen = await sandbox.run(python(code), "closes")
    assert (seen.exit_code, seen.stdout) == (5, b"child")


async def test_a_child_that_holds_the_output_open_does_not_keep_the_answer_waiting(sandbox: Sandbox) -> None:
    limits = Limits(wall_s=60)
    code = "sleep 60 & (trap '' TERM HUP; sleep 60) & echo done"
    seen = await sandbox.run(shell(code, limits=limits), "holds")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"done\n")
    assert seen.duration_s < limits.wall_s / 2


async def test_a_flood_from_many_processes_is_cut_at_the_limit(sandbox: Sandbox) -> None:
    code = "for n in 1 2 3 4; do yes x & done; wait"
    seen = await sandbox.run(shell(code, limits=Limits(output_kb=64, wall_s=20)), "flood")
    assert (seen.outcome, len(seen.stdout), seen.stdout_truncated) == (Outcome.OUTPUT_LIMIT, 64 << 10, True)


async def test_an_argument_list_that_is_too_long_is_the_program_s_own_fault(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "try: os.execv('/bin/true', ['x' * 200_000] * 100)\n"
        "except OSError as error: print(error.errno)"
    )
    seen = await sandbox.run(python(code), "arguments")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"7\n")
