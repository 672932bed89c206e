"""Bytes in, bytes out."""

import hashlib

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY_BYTE = bytes(range(256))
ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


async def test_output_comes_back_byte_for_byte(sandbox: Sandbox) -> None:
    code = (
        "import sys\n"
        "sys.stdout.buffer.write(bytes(range(256)))\n"
        "sys.stderr.buffer.write(bytes(reversed(range(256))))"
    )
    seen = await sandbox.run(python(code), "bytes")
    assert (seen.outcome, seen.exit_code) == (Outcome.OK, 0)
    assert seen.stdout == EVERY_BYTE
    assert seen.stderr == EVERY_BYTE[::-1]
    assert not seen.stdout_truncated
    assert not seen.stderr_truncated


@pytest.mark.parametrize("text", [b"", b"\0", b"\n", b"no newline", b"a\r\nb\r", b"\xff\xfe\0"])
async def test_nothing_is_added_to_output_or_taken_from_it(sandbox: Sandbox, text: bytes) -> None:
    seen = await sandbox.run(python(ECHO, text), "exact")
    assert seen.stdout == text
    assert seen.stderr == b""


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1 << 20, (10 << 20) + 1])
async def test_standard_input_of_any_size_arrives_whole(sandbox: Sandbox, size: int) -> None:
    stdin = (EVERY_BYTE * (size // 256 + 1))[:size]
    code = "import sys, hashlib; d = sys.stdin.buffer.read(); print(len(d), hashlib.sha256(d).hexdigest())"
    seen = await sandbox.run(python(code, stdin), "stdin")
    assert seen.stdout.decode() == f"{size} {hashlib.sha256(stdin).hexdigest()}\n"


@pytest.mark.parametrize("size", [0, 1, 65537, 1 << 20])
async def test_a_program_need_not_read_its_input(sandbox: Sandbox, size: int) -> None:
    seen = await sandbox.run(python("print('done')", b"x" * size), "unread")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"done\n")


async def test_a_program_may_close_its_input_and_go_on(sandbox: Sandbox) -> None:
    code = "import os, time; os.read(0, 10); os.close(0); time.sleep(0.05); print('alive')"
    seen = await sandbox.run(python(code, b"x" * (1 << 20)), "closes")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"alive\n")


async def test_much_input_and_much_output_at_once_do_not_block_each_other(sandbox: Sandbox) -> None:
    stdin = EVERY_BYTE * (5 << 12)
    limits = Limits(wall_s=30, cpu_s=20, output_kb=6 << 10)
    seen = await sandbox.run(shell("tee /dev/stderr", stdin, limits), "both")
    assert seen.outcome is Outcome.OK
    assert seen.stdout == seen.stderr == stdin


async def test_output_written_before_standard_input_is_read_is_kept(sandbox: Sandbox) -> None:
    code = "import sys; sys.stdout.write('x' * 900_000); sys.stdout.flush(); print(len(sys.stdin.read()))"
    seen = await sandbox.run(python(code, b"y" * (2 << 20)), "order")
    assert seen.stdout == b"x" * 900_000 + b"2097152\n"


@pytest.mark.parametrize(("stream", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
async def test_output_past_the_limit_keeps_the_exact_prefix(
    sandbox: Sandbox, stream: str, other: str
) -> None:
    code = (
        "import sys\n"
        "data = bytes(range(256)) * 64\n"
        f"while True: sys.{stream}.buffer.write(data); sys.{stream}.flush()"
    )
    seen = await sandbox.run(python(code, limits=Limits(output_kb=100)), "flood")
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.OUTPUT_LIMIT, None, "SIGKILL")
    assert getattr(seen, stream) == EVERY_BYTE * 400
    assert getattr(seen, f"{stream}_truncated")
    assert getattr(seen, other) == b""
    assert not getattr(seen, f"{other}_truncated")


async def test_output_of_exactly_the_limit_is_no_overflow(sandbox: Sandbox) -> None:
    code = "import sys; sys.stdout.write('x' * 1024 * {})"
    limits = Limits(output_kb=100)
    exact = await sandbox.run(python(code.format(100), limits=limits), "exact")
    assert (exact.outcome, len(exact.stdout), exact.stdout_truncated) == (Outcome.OK, 102_400, False)
    over = await sandbox.run(python(code.format(100) + "; print()", limits=limits), "over")
    assert (over.outcome, len(over.stdout), over.stdout_truncated) == (Outcome.OUTPUT_LIMIT, 102_400, True)


async def test_what_was_written_before_a_limit_is_kept(sandbox: Sandbox) -> None:
    code = "echo so far; echo err >&2; sleep 99"
    seen = await sandbox.run(shell(code, limits=Limits(wall_s=2)), "partial")
    assert (seen.outcome, seen.signal) == (Outcome.WALL_LIMIT, "SIGKILL")
    assert (seen.stdout, seen.stderr) == (b"so far\n", b"err\n")


async def test_large_output_is_not_charged_to_the_program_s_memory(sandbox: Sandbox) -> None:
    limits = Limits(memory_mb=16, output_kb=24 << 10, wall_s=30)
    seen = await sandbox.run(
        shell("head -c 20971520 /dev/zero; head -c 20971520 /dev/zero >&2", limits=limits), "big"
    )
    assert (seen.outcome, len(seen.stdout), len(seen.stderr)) == (Outcome.OK, 20 << 20, 20 << 20)


async def test_closing_the_output_is_not_the_end_of_a_program(sandbox: Sandbox) -> None:
    code = "import os, time; os.write(1, b'x'); os.close(1); os.close(2); time.sleep(0.2); os._exit(7)"
    seen = await sandbox.run(python(code), "closed")
    assert (seen.outcome, seen.exit_code, seen.stdout) == (Outcome.NONZERO_EXIT, 7, b"x")
