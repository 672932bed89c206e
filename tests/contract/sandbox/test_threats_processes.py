"""Programs that misuse processes, signals, descriptors and terminals."""

import signal
import uuid

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import processes_with, python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEAF = """
import os, signal, sys, time
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
print("deaf", flush=True)
%s
"""


@pytest.mark.parametrize(
    ("work", "limits", "outcome"),
    [
        ("while True: pass", Limits(cpu_s=1, wall_s=20), Outcome.CPU_LIMIT),
        ("time.sleep(99)", Limits(wall_s=2), Outcome.WALL_LIMIT),
        ("while True: os.write(1, b'x' * 65536)", Limits(output_kb=64, wall_s=20), Outcome.OUTPUT_LIMIT),
    ],
    ids=["cpu", "wall", "output"],
)
async def test_a_program_that_ignores_all_signals_ends_at_its_limits(
    sandbox: Sandbox, work: str, limits: Limits, outcome: Outcome
) -> None:
    seen = await sandbox.run(python(DEAF % work, limits=limits), "deaf")
    assert (seen.outcome, seen.exit_code, seen.signal) == (outcome, None, signal.SIGKILL.name)
    assert seen.stdout.startswith(b"deaf\n")


async def test_a_daemon_that_forked_twice_does_not_hold_up_the_answer(sandbox: Sandbox) -> None:
    marker = f"twice-{uuid.uuid4()}"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    time.sleep(99)\n"  # with all three streams still open
        "os.wait(); print('parent')"
    )
    seen = await sandbox.run(python(code, argument=marker), "twice")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"parent\n")
    assert processes_with(marker) == []


async def test_orphans_are_collected_by_the_first_process(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    orphan = os.fork()\n"
        "    if orphan == 0: time.sleep(0.05); os._exit(0)\n"
        "    print(orphan, flush=True); os._exit(0)\n"
        "os.wait()\n"
        "patience = time.monotonic() + 15\n"
        "def others():\n"
        "    return [name for name in os.listdir('/proc') if name.isdigit() and int(name) > os.getpid()]\n"
        "while others() and time.monotonic() < patience: time.sleep(0.05)\n"
        "print(others())"
    )
    seen = await sandbox.run(python(code), "orphans")
    assert seen.stdout.endswith(b"\n[]\n")


async def test_children_that_nobody_collects_count_against_the_limit(sandbox: Sandbox) -> None:
    code = (
        "import os, sys, time\n"
        "for n in range(99):\n"
        "    try:\n"
        "        if os.fork() == 0: os._exit(0)\n"
        "    except OSError: print(n); time.sleep(1); sys.exit(1)\n"
    )
    seen = await sandbox.run(python(code, limits=Limits(processes=8)), "zombies")
    assert (seen.outcome, seen.stdout) == (Outcome.PROCESS_LIMIT, b"7\n")


async def test_descriptors_are_limited(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "try:\n"
        "    while True: last = os.open('/dev/null', os.O_RDONLY)\n"
        "except OSError as error: print(last, error.strerror)"
    )
    seen = await sandbox.run(python(code), "descriptors")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"255 Too many open files\n")


async def test_a_crash_leaves_no_core_file_and_hands_none_to_the_host(sandbox: Sandbox) -> None:
    code = (
        "import os, signal, resource\n"
        "os.chdir('/tmp')\n"
        "child = os.fork()\n"
        "if child == 0: os.kill(os.getpid(), signal.SIGQUIT); os._exit(0)\n"
        "print(os.WCOREDUMP(os.wait()[1]), os.listdir('/tmp'))\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    seen = await sandbox.run(python(code), "core")
    assert seen.stdout == b"False []\n(1, 1)\n"


async def test_there_is_no_terminal_to_type_into(sandbox: Sandbox) -> None:
    code = (
        "import fcntl, os, termios\n"
        "print(os.getsid(0) == os.getpid() == os.getpgid(0))\n"
        "for descriptor in range(3):\n"
        "    for request, argument in ((termios.TIOCSTI, b'x'), (termios.TIOCSCTTY, 0)):\n"
        "        try: fcntl.ioctl(descriptor, request, argument); print('a terminal')\n"
        "        except OSError: pass\n"
        "try: os.open('/dev/tty', os.O_RDWR); print('a terminal')\n"
        "except OSError: pass\n"
    )
    seen = await sandbox.run(python(code), "terminal")
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"True\n", b"")


async def test_control_sequences_come_back_as_the_bytes_they_are(sandbox: Sandbox) -> None:
    code = r"printf '\033]0;title\007\033[2J\033[1;1H\r\b\x9b31m\xff'"
    seen = await sandbox.run(shell(code), "sequences")
    assert seen.stdout == b"\x1b]0;title\x07\x1b[2J\x1b[1;1H\r\b\x9b31m\xff"
