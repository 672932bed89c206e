"""Nothing of a program is left when its run has returned."""

import uuid

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import SLOTS, processes_with, python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

SURROUNDINGS = """
import ctypes, glob, os, socket
print(sorted(os.listdir("/box")), os.listdir("/tmp"), os.listdir("/dev/shm"), os.listdir("/var/tmp"))
print(ctypes.CDLL(None).shmget(0x1234, 0, 0), ctypes.CDLL(None).msgget(0x1234, 0))
try: socket.socket(socket.AF_UNIX).connect("\\0left-behind"); print("connected")
except OSError as error: print(error.strerror)
try: socket.create_connection(("127.0.0.1", 8080)); print("connected")
except OSError as error: print(error.strerror)
"""
LITTER = """
import ctypes, os, socket, time
for folder in ("/box", "/tmp", "/dev/shm", "/var/tmp"):
    open(folder + "/left-behind", "w").write("x" * 100_000)
libc = ctypes.CDLL(None)
libc.shmget(0x1234, 4096, 0o1666); libc.msgget(0x1234, 0o1666)
listens, tells = os.pipe()
if os.fork() == 0:
    os.setsid()
    listeners = [socket.create_server(("127.0.0.1", 8080)), socket.socket(socket.AF_UNIX)]
    listeners[1].bind("\\0left-behind"); listeners[1].listen()
    os.write(1, b"listening\\n")
    os.write(tells, b"x")
    time.sleep(99)
os.read(listens, 1)
"""


async def test_orphans_and_daemons_are_dead_when_the_run_returns(sandbox: Sandbox) -> None:
    marker = f"daemon-{uuid.uuid4()}"
    code = (
        "import os, signal, sys, time\n"
        "for n in range(8):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "        for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "        if n % 2: os.kill(os.getpid(), signal.SIGSTOP)\n"
        "        time.sleep(999)\n"
        "print('gone')\n"
    )
    seen = await sandbox.run(python(code, argument=marker), "daemons")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"gone\n")
    assert processes_with(marker) == []


async def test_a_program_ended_at_a_limit_leaves_no_process(sandbox: Sandbox) -> None:
    marker = f"limit-{uuid.uuid4()}"
    code = "import os, time\nfor _ in range(3): os.fork()\ntime.sleep(999)"
    seen = await sandbox.run(python(code, limits=Limits(wall_s=0.3), argument=marker), "limit")
    assert seen.outcome is Outcome.WALL_LIMIT
    assert processes_with(marker) == []


async def test_a_program_finds_nothing_of_the_ones_before_it(sandbox: Sandbox) -> None:
    before = [await sandbox.run(python(SURROUNDINGS), "before") for _ in range(SLOTS)]
    for _ in range(SLOTS):
        litter = await sandbox.run(python(LITTER), "litter")
        assert (litter.outcome, litter.stdout) == (Outcome.OK, b"listening\n"), litter.stderr
    after = [await sandbox.run(python(SURROUNDINGS), "after") for _ in range(SLOTS)]
    assert {each.stdout for each in (*before, *after)} == {
        b"['main.py'] [] [] []\n-1 -1\nConnection refused\nConnection refused\n"
    }


async def test_files_of_one_program_are_not_charged_to_the_next(sandbox: Sandbox) -> None:
    fill = shell("head -c 60000000 /dev/zero > /tmp/fill")
    greedy = python("x = b'x' * (40 << 20)", limits=Limits(memory_mb=64))
    for _ in range(2 * SLOTS):
        assert (await sandbox.run(fill, "fill")).outcome is Outcome.OK
        seen = await sandbox.run(greedy, "greedy")
        assert (seen.outcome, seen.memory_peak_mb < 64) == (Outcome.OK, True)


async def test_the_limits_of_one_program_do_not_bind_the_next_one_s_input(sandbox: Sandbox) -> None:
    for _ in range(SLOTS):
        small = await sandbox.run(shell(":", limits=Limits(memory_mb=16)), "small")
        assert small.outcome is Outcome.OK
    for _ in range(SLOTS):
        seen = await sandbox.run(shell("wc -c", b"x" * (40 << 20), Limits(wall_s=30)), "large")
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"%d\n" % (40 << 20))


async def test_what_the_kernel_remembers_of_one_program_does_not_raise_the_next_one_s_limit(
    sandbox: Sandbox,
) -> None:
    # Each name that was looked up in vain stays in the kernel's cache, on the account of who asked.
    code = "import os\nfor n in range(120_000): os.access(f'/usr/lib/{n}-%s', os.F_OK)"
    greedy = python(
        "import time; x = b'x' * (90 << 20); time.sleep(30)",
        limits=Limits(memory_mb=64, cpu_s=30, wall_s=60),
    )
    for _ in range(SLOTS):
        assert (await sandbox.run(python(code % uuid.uuid4()), "curious")).outcome is Outcome.OK
    for _ in range(SLOTS):
        assert (await sandbox.run(greedy, "greedy")).outcome is Outcome.MEMORY_LIMIT
