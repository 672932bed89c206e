"""How a run ended, by wait status and kernel counters."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import python, run_c, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

SELF_INCRIMINATING = {signal.SIGSYS: Outcome.SECURITY_VIOLATION, signal.SIGXFSZ: Outcome.DISK_LIMIT}
OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33, which posix_spawn leaves ignored; no program may use them."""
DEADLY = sorted(
    set(signal.Signals)
    - {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    - {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler here")


@pytest.mark.parametrize("code", [0, 1, 2, 42, 126, 127, 128, 137, 139, 255])
async def test_exit_codes_come_back_as_they_are(sandbox: Sandbox, code: int) -> None:
    seen = await sandbox.run(shell(f"exit {code}"), "exit")
    assert seen.outcome is (Outcome.NONZERO_EXIT if code else Outcome.OK)
    assert (seen.exit_code, seen.signal) == (code, None)


async def test_every_deadly_signal_is_told_by_its_name(sandbox: Sandbox) -> None:
    code = (
        "import os, signal\n"
        "number = int(input())\n"
        "if number != signal.SIGKILL: signal.signal(number, signal.SIG_DFL)\n"
        "os.kill(os.getpid(), number)"
    )
    numbers = [int(number) for number in DEADLY]
    runs = [sandbox.run(python(code, str(number).encode()), f"signal-{number}") for number in numbers]
    for number, seen in zip(numbers, await asyncio.gather(*runs), strict=True):
        outcome = SELF_INCRIMINATING.get(signal.Signals(number), Outcome.SIGNALLED)
        assert (seen.outcome, seen.exit_code, seen.signal) == (outcome, None, signal.Signals(number).name)


async def test_a_signal_that_a_program_ignores_does_not_end_it(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("trap '' TERM; kill -TERM $$; echo alive"), "ignored")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"alive\n")


async def test_programs_find_signals_at_their_defaults(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status"), "defaults")
    masks = {int(line.split()[1], 16) for line in seen.stdout.decode().splitlines()}
    assert {mask & ~OF_THE_C_LIBRARY for mask in masks} == {0}


async def test_cpu_time_is_limited(sandbox: Sandbox) -> None:
    seen = await sandbox.run(python("while True: pass", limits=Limits(cpu_s=0.2)), "cpu")
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.CPU_LIMIT, None, "SIGKILL")
    assert seen.cpu_s >= 0.2


async def test_cpu_time_of_all_processes_together_is_limited(sandbox: Sandbox) -> None:
    code = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    seen = await sandbox.run(python(code, limits=Limits(cpu_s=0.4, wall_s=30)), "cpus")
    assert seen.outcome is Outcome.CPU_LIMIT


async def test_cpu_time_of_children_that_were_collected_counts(sandbox: Sandbox) -> None:
    code = "while true; do ( for ((i=0; i<20000; i++)); do :; done ); done"
    seen = await sandbox.run(shell(code, limits=Limits(cpu_s=0.4, wall_s=30)), "collected")
    assert seen.outcome is Outcome.CPU_LIMIT


async def test_wall_time_is_limited_and_costs_no_cpu_time(sandbox: Sandbox) -> None:
    seen = await sandbox.run(python("import time; time.sleep(99)", limits=Limits(wall_s=0.3)), "wall")
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.WALL_LIMIT, None, "SIGKILL")
    assert seen.duration_s >= 0.3 > seen.cpu_s


@contextlib.contextmanager
def hogs() -> Iterator[None]:
    """Keeps every CPU of this machine busy twice over."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    # In sessions of their own, or the kernel may count them as one against a program.
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def test_a_busy_program_on_a_machine_short_of_cpu_ends_at_its_cpu_limit(sandbox: Sandbox) -> None:
    with hogs():
        seen = await sandbox.run(python("while True: pass", limits=Limits(wall_s=1, cpu_s=0.7)), "starved")
    as_long_as_it_may = seen.duration_s >= 5  # on a machine that hardly gave it any
    assert seen.outcome is Outcome.CPU_LIMIT or as_long_as_it_may


async def test_memory_is_limited(sandbox: Sandbox) -> None:
    code = "import time; print('before', flush=True); x = b'x' * (200 << 20); time.sleep(30)"
    seen = await sandbox.run(python(code, limits=Limits(memory_mb=64, cpu_s=30, wall_s=60)), "memory")
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.MEMORY_LIMIT, None, "SIGKILL")
    assert seen.stdout == b"before\n"


async def test_memory_of_all_processes_together_is_limited(sandbox: Sandbox) -> None:
    code = "import os, time\nfor _ in range(2): os.fork()\nx = b'x' * (24 << 20); time.sleep(30)"
    seen = await sandbox.run(python(code, limits=Limits(memory_mb=64, cpu_s=30, wall_s=60)), "together")
    assert (seen.outcome, seen.signal) == (Outcome.MEMORY_LIMIT, "SIGKILL")


async def test_memory_that_processes_share_counts_once(sandbox: Sandbox) -> None:
    code = "import os, time\nx = b'x' * (40 << 20)\nfor _ in range(2): os.fork()\ntime.sleep(0.2)"
    seen = await sandbox.run(python(code, limits=Limits(memory_mb=100)), "shared")
    assert seen.outcome is Outcome.OK


async def test_a_program_within_its_memory_is_left_alone_and_its_peak_is_told(sandbox: Sandbox) -> None:
    seen = await sandbox.run(python("x = b'x' * (40 << 20)", limits=Limits(memory_mb=64)), "within")
    assert seen.outcome is Outcome.OK
    assert 40 <= seen.memory_peak_mb < 64


async def test_processes_are_limited(sandbox: Sandbox) -> None:
    code = (
        "import os, sys, time\n"
        "for n in range(99):\n"
        "    try: pid = os.fork()\n"
        "    except OSError: print(n); time.sleep(1); sys.exit(1)\n"
        "    if pid == 0: time.sleep(30)\n"
    )
    seen = await sandbox.run(python(code, limits=Limits(processes=8)), "processes")
    assert (seen.outcome, seen.exit_code, seen.stdout) == (Outcome.PROCESS_LIMIT, 1, b"7\n")


async def test_threads_count_as_processes(sandbox: Sandbox) -> None:
    code = (
        "import _thread, sys, time\n"
        "for n in range(99):\n"
        "    try: _thread.start_new_thread(time.sleep, (30,))\n"
        "    except RuntimeError: print(n, flush=True); time.sleep(1); sys.exit(1)\n"
    )
    seen = await sandbox.run(python(code, limits=Limits(processes=8)), "threads")
    assert (seen.outcome, seen.stdout) == (Outcome.PROCESS_LIMIT, b"7\n")


@pytest.mark.parametrize("folder", ["/box", "/tmp", "/dev/shm", "/var/tmp"])
async def test_disk_is_limited_in_every_writable_place(sandbox: Sandbox, folder: str) -> None:
    code = f"head -c 1000000 /dev/zero > {folder}/small && head -c 3000000 /dev/zero > {folder}/big"
    seen = await sandbox.run(shell(code, limits=Limits(disk_mb=2)), "disk")
    assert (seen.outcome, seen.exit_code) == (Outcome.DISK_LIMIT, 1)


async def test_a_sparse_file_beyond_the_disk_s_size_is_refused(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("exec truncate -s 1T big", limits=Limits(disk_mb=2)), "sparse")
    assert (seen.outcome, seen.signal) == (Outcome.DISK_LIMIT, "SIGXFSZ")


async def test_inodes_are_bounded(sandbox: Sandbox) -> None:
    code = "for n in range(20_000): open(f'/tmp/{n}', 'w').close()"
    seen = await sandbox.run(python(code), "inodes")
    assert seen.outcome is Outcome.DISK_LIMIT
    assert b"No space left" in seen.stderr


async def test_a_program_larger_than_its_disk_limit_still_runs(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("#" * (3 << 20) + "\necho ran", limits=Limits(disk_mb=1)), "large")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"ran\n")


@needs_gcc
async def test_a_program_that_does_not_compile_ends_with_the_compiler_s_words(sandbox: Sandbox) -> None:
    seen = await run_c(sandbox, "int main(void) { return nonsense; }")
    assert (seen.outcome, seen.exit_code) == (Outcome.COMPILE_ERROR, 1)
    assert b"nonsense" in seen.stderr


@needs_gcc
async def test_a_compiled_program_runs_under_limits_of_its_own(sandbox: Sandbox) -> None:
    seen = await run_c(sandbox, "int main(void) { for (;;); }", Limits(cpu_s=0.2, memory_mb=16))
    assert seen.outcome is Outcome.CPU_LIMIT


@needs_gcc
async def test_a_crash_is_a_signal_and_no_limit(sandbox: Sandbox) -> None:
    recursion = (
        "int f(int n) { volatile char a[9999]; a[0] = n; return f(n + 1) + a[0]; }\n"
        "int main(void) { return f(0); }"
    )
    seen = await run_c(sandbox, recursion)
    assert (seen.outcome, seen.signal) == (Outcome.SIGNALLED, "SIGSEGV")


async def test_a_call_that_takes_over_machines_is_a_security_violation(sandbox: Sandbox) -> None:
    code = (
        "import ctypes, platform\n"
        "number = {'x86_64': 169, 'aarch64': 142}[platform.machine()]\n"
        "ctypes.CDLL(None).syscall(number, 0, 0, 0)"
    )
    seen = await sandbox.run(python(code), "reboot")
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.SECURITY_VIOLATION, None, "SIGSYS")
