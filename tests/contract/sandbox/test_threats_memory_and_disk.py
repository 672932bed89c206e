"""Programs that take memory and disk by ways that are easily forgotten to count."""

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import SLOTS, python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNTED = "cgroups"
# The kernel itself takes time to find no more memory, on a busy machine seconds.
SMALL = Limits(memory_mb=48, cpu_s=30, wall_s=60)

MEMFD = """
import os
try:
    nameless = os.memfd_create("hidden")
except PermissionError:
    print("denied"); raise SystemExit
for _ in range(128): os.write(nameless, bytes(1 << 20))
"""
SHARED_SEGMENT = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0x7e57, 128 << 20, 0o1666)
if segment == -1:
    print("denied"); raise SystemExit
ctypes.memset(libc.shmat(segment, None, 0), 1, 128 << 20)
"""
UNMAPPED = """
import ctypes, mmap, os
libc, kept = ctypes.CDLL(None), []
for _ in range(8):
    kept.append(mmap.mmap(-1, 16 << 20))
    shared = kept[-1]
    for page in range(0, 16 << 20, 4096): shared[page] = 1
    start = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t((16 << 20) - 4096))
os._exit(0)
"""
READ_MUCH = """
import os
total = 0
for folder in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"):
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = f"{folder}/{name}"
        if total < 96 << 20 and os.path.isfile(path) and os.access(path, os.R_OK):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # so that it is read on our account
            while part := os.read(file, 1 << 20): total += len(part)
            os.close(file)
print(total >= 48 << 20)
"""


@pytest.mark.parametrize("code", [MEMFD, SHARED_SEGMENT], ids=["memfd", "shared segment"])
async def test_memory_that_is_no_process_s_own_is_counted_or_denied(sandbox: Sandbox, code: str) -> None:
    seen = await sandbox.run(python(code, limits=SMALL), "hidden")
    if COUNTED in sandbox.isolation_level:
        assert seen.outcome is Outcome.MEMORY_LIMIT
    else:
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"denied\n")


async def test_shared_memory_that_is_mapped_no_more_is_counted_by_control_groups(sandbox: Sandbox) -> None:
    if COUNTED not in sandbox.isolation_level:
        pytest.skip("no part of what is promised without control groups")
    seen = await sandbox.run(python(UNMAPPED, limits=SMALL), "unmapped")
    assert seen.outcome is Outcome.MEMORY_LIMIT


@pytest.mark.parametrize("folder", ["/box", "/tmp", "/dev/shm"])
async def test_files_count_as_memory_where_a_control_group_counts(sandbox: Sandbox, folder: str) -> None:
    code = f"head -c 96000000 /dev/zero > {folder}/fill"
    seen = await sandbox.run(shell(code, limits=SMALL.model_copy(update={"disk_mb": 128})), "tmpfs")
    counted = COUNTED in sandbox.isolation_level
    assert seen.outcome is (Outcome.MEMORY_LIMIT if counted else Outcome.OK)


async def test_reading_more_than_fits_into_memory_is_no_fault(sandbox: Sandbox) -> None:
    seen = await sandbox.run(python(READ_MUCH, limits=Limits(memory_mb=24, cpu_s=30, wall_s=60)), "cache")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"True\n")


async def test_space_cannot_be_reserved_beyond_the_disk_s_size(sandbox: Sandbox) -> None:
    code = (
        "import os, resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "file = os.open('/tmp/reserved', os.O_RDWR | os.O_CREAT)\n"
        "for size in (1 << 20, 1 << 40):\n"
        "    try: os.posix_fallocate(file, 0, size); print('reserved')\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    seen = await sandbox.run(python(code, limits=Limits(disk_mb=2)), "fallocate")
    assert seen.stdout.startswith(b"reserved\nFile too large\n")


async def test_many_files_below_the_size_limit_do_not_outgrow_the_disk(sandbox: Sandbox) -> None:
    code = "for n in {1..8}; do head -c 1000000 /dev/zero > /tmp/$n || exit 1; done"
    seen = await sandbox.run(shell(code, limits=Limits(disk_mb=2)), "pieces")
    assert (seen.outcome, seen.exit_code) == (Outcome.DISK_LIMIT, 1)
    assert b"No space left" in seen.stderr


async def test_holes_in_a_file_that_a_compiler_leaves_do_not_slip_past_what_is_carried(
    sandbox: Sandbox,
) -> None:
    limits = Limits(disk_mb=256, memory_mb=128)
    seen, left = await sandbox.compile(shell("truncate -s 70M /box/holes", limits=limits), "holes")
    assert (seen.outcome, left) == (Outcome.DISK_LIMIT, ())


async def test_a_full_disk_of_one_program_leaves_the_next_one_its_own(sandbox: Sandbox) -> None:
    fill = shell("head -c 9000000 /dev/zero > /tmp/fill", limits=Limits(disk_mb=2))
    for _ in range(SLOTS):
        assert (await sandbox.run(fill, "fill")).outcome is Outcome.DISK_LIMIT
    for _ in range(SLOTS):
        code = "head -c 1000000 /dev/zero > /tmp/fill && stat -c %s /tmp/fill"
        seen = await sandbox.run(shell(code, limits=Limits(disk_mb=2)), "after")
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"1000000\n")
