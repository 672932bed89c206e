"""Programs that mean harm to whoever watches them."""

import asyncio

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHORT = Limits(wall_s=2)


async def test_a_program_that_stops_itself_ends_at_its_wall_limit(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("echo x; kill -STOP $$", limits=SHORT), "stopped")
    assert (seen.outcome, seen.stdout) == (Outcome.WALL_LIMIT, b"x\n")


async def test_a_program_that_takes_its_own_output_back_does_not_stall_the_watch(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "back = os.open('/proc/self/fd/1', os.O_RDONLY | os.O_NONBLOCK)\n"
        "while True:\n"
        "    os.write(1, b'x')\n"
        "    try: os.read(back, 1)\n"
        "    except BlockingIOError: pass\n"
        "    time.sleep(0.001)\n"
    )
    seen = await sandbox.run(python(code, limits=SHORT), "thief")
    assert seen.outcome is Outcome.WALL_LIMIT


async def test_a_program_that_reads_its_own_output_pipe_dry_does_not_hold_up_its_end(
    sandbox: Sandbox,
) -> None:
    code = (
        "import os, socket\n"
        "left, right = socket.socketpair()\n"
        "socket.send_fds(left, [b'x'], [1, left.fileno(), right.fileno()])\n"  # in flight to nobody
        "os.write(1, b'done')\n"
    )
    seen = await sandbox.run(python(code), "in-flight")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"done")


async def test_signals_to_the_first_process_change_nothing(sandbox: Sandbox) -> None:
    code = (
        "import os, signal\n"
        "for number in signal.valid_signals():\n"
        "    try: os.kill(1, number)\n"
        "    except OSError as error: print(error)\n"
        "print('alive')\n"
    )
    seen = await sandbox.run(python(code), "signals")
    assert (seen.outcome, seen.exit_code) == (Outcome.OK, 0)
    assert seen.stdout.endswith(b"alive\n")


async def test_a_program_that_kills_all_it_can_ends_itself_only(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("echo x; kill -9 -1; kill -9 $$"), "kill-all")
    assert (seen.outcome, seen.signal, seen.stdout) == (Outcome.SIGNALLED, "SIGKILL", b"x\n")


async def test_a_storm_of_child_signals_does_not_keep_the_watch_from_its_clock(sandbox: Sandbox) -> None:
    code = "import os, signal\nwhile True: os.kill(1, signal.SIGCHLD)"
    seen = await sandbox.run(python(code, limits=Limits(wall_s=20, cpu_s=0.5)), "storm")
    assert seen.outcome is Outcome.CPU_LIMIT


async def test_a_fork_bomb_ends_at_its_limits_and_leaves_the_slot_in_order(sandbox: Sandbox) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    seen = await sandbox.run(python(bomb, limits=Limits(cpu_s=0.5, processes=32, wall_s=20)), "bomb")
    assert seen.outcome in (Outcome.CPU_LIMIT, Outcome.MEMORY_LIMIT)
    assert (await sandbox.run(shell("echo fine"), "after")).stdout == b"fine\n"


async def test_processes_that_replace_themselves_all_the_time_cannot_outrun_the_end(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        if os.fork(): os._exit(0)\n"
        "time.sleep(0.2)\n"
    )
    seen = await sandbox.run(python(code), "hare")
    assert seen.outcome is Outcome.OK


async def test_ended_children_that_nobody_waits_for_do_not_use_up_the_process_limit(sandbox: Sandbox) -> None:
    code = "for n in {1..60}; do ( (:) & ) ; done; sleep 0.1; echo done"
    seen = await sandbox.run(shell(code, limits=Limits(processes=12)), "zombies")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"done\n")


async def test_out_of_memory_the_program_is_ended_and_not_who_keeps_its_output(sandbox: Sandbox) -> None:
    code = (
        "echo before\n"
        "for n in {1..40}; do (x=$(head -c 1000000 /dev/zero | tr '\\0' x); exec sleep 30) & done\n"
        "for n in {1..40}; do (x=$(head -c 1000000 /dev/zero | tr '\\0' x); sleep 30; echo $x) & done\n"
        "wait"
    )
    limits = Limits(memory_mb=32, cpu_s=30, wall_s=60, processes=500)
    seen = await sandbox.run(shell(code, limits=limits), "small")
    assert (seen.outcome, seen.stdout[:7]) == (Outcome.MEMORY_LIMIT, b"before\n")


async def test_a_program_that_makes_itself_the_last_to_be_chosen_is_still_ended(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "time.sleep(0.05)\n"
        "open('/proc/self/oom_score_adj', 'w').write('0')\n"
        "for n in range(30):\n"
        "    if os.fork() == 0: x = b'x' * (2 << 20); time.sleep(30); os._exit(0)\n"
        "x = b'x' * (2 << 20); time.sleep(30)\n"
    )
    seen = await sandbox.run(python(code, limits=Limits(memory_mb=32, cpu_s=30, wall_s=60)), "last")
    assert seen.outcome is Outcome.MEMORY_LIMIT
    assert (await sandbox.run(shell("echo fine"), "after")).stdout == b"fine\n"


@pytest.mark.parametrize(
    "path", ["/proc/1/mem", "/proc/1/fd", "/proc/1/environ", "/proc/1/maps", "/proc/1/cwd/x"]
)
async def test_the_first_process_cannot_be_looked_into(sandbox: Sandbox, path: str) -> None:
    seen = await sandbox.run(shell(f"cat {path}"), "look")
    assert seen.outcome is Outcome.NONZERO_EXIT
    assert seen.stdout == b""


async def test_a_program_that_removes_all_it_can_leaves_the_next_one_its_places(sandbox: Sandbox) -> None:
    seen = await sandbox.run(
        shell("rm -rf /box /tmp/* /scratch/* 2>/dev/null; mkdir /tmp/x; echo $?"), "remove"
    )
    assert seen.outcome is Outcome.OK
    assert (await sandbox.run(shell("ls /box"), "after")).stdout == b"main.sh\n"


async def test_output_of_descendants_counts_until_the_main_process_ends(sandbox: Sandbox) -> None:
    code = "mkfifo told; (echo child; echo >told; sleep 99; echo late) & read <told; echo main"
    seen = await sandbox.run(shell(code), "descendants")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"child\nmain\n")


async def test_two_floods_at_once_do_not_mix(sandbox: Sandbox) -> None:
    limits = Limits(output_kb=4 << 10, wall_s=30)
    runs = [
        sandbox.run(
            python(f"import sys\nfor _ in range(4096): sys.stdout.write('{letter}' * 1024)", limits=limits),
            letter,
        )
        for letter in "abcd"
    ]
    for letter, seen in zip("abcd", await asyncio.gather(*runs), strict=True):
        assert seen.stdout == letter.encode() * (4 << 20)
