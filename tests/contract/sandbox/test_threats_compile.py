"""Sources that harm whoever compiles them, and what a compiler leaves that is no ordinary file."""

import shutil
from dataclasses import replace

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import shell
from tests.support.threats import canary, compiler

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here"),
]

LIMITS_MET = {
    *(Outcome.CPU_LIMIT, Outcome.WALL_LIMIT, Outcome.MEMORY_LIMIT, Outcome.DISK_LIMIT, Outcome.OUTPUT_LIMIT)
}
TEMPLATES = """
template<int depth, int path> struct Tree {
    static constexpr long value = Tree<depth - 1, 2 * path>::value + Tree<depth - 1, 2 * path + 1>::value;
};
template<int path> struct Tree<0, path> { static constexpr long value = path; };
int main() { return Tree<28, 0>::value; }
"""
MACROS = (
    "#define A0 x x x x x x x x\n"
    + "".join(f"#define A{n} " + f"A{n - 1} " * 8 + "\n" for n in range(1, 12))
    + "int main(void) { A11; }"
)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("main.c", "#include </dev/random>\n"),
        ("main.c", "#include </dev/zero>\n"),
        ("main.c", "#include __FILE__\n" * 40 + "int main(void) { return 0; }"),
        ("main.c", MACROS),
        ("main.cpp", TEMPLATES),
        ("main.c", "char large[1u << 31] = {1}; int main(void) { return large[0]; }"),
    ],
    ids=["random", "zero", "includes itself", "macros", "templates", "data"],
)
async def test_a_source_that_compiles_for_ever_ends_at_a_limit_of_the_compiler(
    sandbox: Sandbox, file: str, source: str
) -> None:
    seen, left = await sandbox.compile(compiler(file, source), "bomb")
    assert seen.outcome in LIMITS_MET | {Outcome.COMPILE_ERROR}, seen.stderr[-300:]
    assert seen.cpu_s < 2
    assert left == ()


@pytest.mark.parametrize("way", ['#include "{}"', '__asm__(".incbin \\"{}\\"");'])
async def test_a_compiler_can_be_made_to_read_no_file_of_the_host(sandbox: Sandbox, way: str) -> None:
    with canary("int canary_of_the_host;\n") as file:
        for path in (file, "/etc/shadow", "/proc/1/environ"):
            source = way.format(path) + "\nint main(void) { return 0; }"
            seen, left = await sandbox.compile(compiler("main.c", source), "include")
            assert (seen.outcome, left) == (Outcome.COMPILE_ERROR, ())
            assert b"canary_of_the_host" not in seen.stdout + seen.stderr


LEAVES_LINKS = """
ln -s /etc/passwd link
ln -s /etc folder
ln -s /proc/self/environ own
mkdir deep && ln -s ../../../../etc/hostname deep/up
ln /etc/passwd hard 2>/dev/null
mkfifo pipe
mknod device c 1 5 2>/dev/null
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/box/socket")'
echo kept > deep/file
ln deep/file twice
"""


async def test_of_what_a_compiler_leaves_only_regular_files_are_taken(sandbox: Sandbox) -> None:
    seen, left = await sandbox.compile(shell(LEAVES_LINKS), "links")
    assert seen.outcome is Outcome.OK, seen.stderr
    assert {file.path for file in left} == {"main.sh", "deep/file", "twice"}
    assert {file.content for file in left if file.path != "main.sh"} == {b"kept\n"}


async def test_a_file_of_the_system_cannot_be_linked_to_be_taken_along(sandbox: Sandbox) -> None:
    code = "for file in /etc/passwd /usr/bin/env /proc/self/environ; do ln $file . && echo linked; done; true"
    seen, left = await sandbox.compile(shell(code), "hard")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"")
    assert [file.path for file in left] == ["main.sh"]


async def test_more_than_is_carried_is_a_limit_of_the_compiler(sandbox: Sandbox) -> None:
    limits = Limits(disk_mb=80, memory_mb=256)
    code = "head -c 35000000 /dev/zero > one && head -c 35000000 /dev/zero > two"
    seen, left = await sandbox.compile(shell(code, limits=limits), "much")
    assert (seen.outcome, left) == (Outcome.DISK_LIMIT, ())


async def test_what_was_compiled_is_taken_whole_and_can_be_run_again(sandbox: Sandbox) -> None:
    code = "printf 'a\\0b' > data; printf '#!/bin/sh\\n' > run; chmod 4755 run; chmod 600 data"
    seen, left = await sandbox.compile(shell(code), "whole")
    assert seen.outcome is Outcome.OK
    assert {(file.path, file.content, file.executable) for file in left if file.path != "main.sh"} == {
        ("data", b"a\0b", False),
        ("run", b"#!/bin/sh\n", True),
    }


async def test_folders_nested_beyond_measure_are_a_limit_and_no_fault_of_the_platform(
    sandbox: Sandbox,
) -> None:
    code = "path=; for n in {1..1500}; do path+=a/; done; mkdir -p $path && echo x > ${path}leaf"
    seen, left = await sandbox.compile(shell(code), "deep")
    assert (seen.outcome, left) == (Outcome.DISK_LIMIT, ())
    assert (await sandbox.run(shell("echo fine"), "after")).stdout == b"fine\n"


async def test_nested_folders_that_can_be_carried_are_made_again(sandbox: Sandbox) -> None:
    code = "path=; for n in {1..480}; do path+=a/; done; mkdir -p $path && echo x > ${path}leaf"
    seen, left = await sandbox.compile(shell(code), "nested")
    assert seen.outcome is Outcome.OK
    again = replace(shell(":"), files=left, stage=shell("").stage)
    assert (await sandbox.run(again, "again")).outcome is Outcome.OK


async def test_what_its_owner_may_not_read_is_left_out(sandbox: Sandbox) -> None:
    seen, left = await sandbox.compile(shell("touch closed; mkdir shut; chmod 000 closed shut"), "closed")
    assert (seen.outcome, [file.path for file in left]) == (Outcome.OK, ["main.sh"])
