"""Programs that try to get out, to gain a privilege or to speak for their watcher.

Calls are made with arguments at which a kernel that let them through would answer otherwise than a filter:
for the most part it looks at them before it looks at privileges.
"""

import ast
import errno
import os

import pytest

from crucible.models import Outcome
from executors.sandbox.interface import Sandbox
from executors.sandbox.supervision import wire
from tests.support.programs import python, run_c, shell
from tests.support.threats import attempts

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOWHERE, NOBODY, NO_FILE, NO_FLAGS = 1, 999_999, -1, 0x7FFF0000
PROCESSES = {
    "ptrace": ((101, 117), (16, NOBODY, 0, 0)),
    "process_vm_readv": ((310, 270), (NOBODY, 0, 0, 0, 0, 1)),
    "process_vm_writev": ((311, 271), (NOBODY, 0, 0, 0, 0, 1)),
    "kcmp": ((312, 272), (NOBODY, NOBODY, 0, 0, 0)),
}
MOUNTS_AND_NAMESPACES = {
    "mount": ((165, 40), (NOWHERE, NOWHERE, NOWHERE, 0, 0)),
    "umount2": ((166, 39), (NOWHERE, NO_FLAGS)),
    "chroot": ((161, 51), (NOWHERE,)),
    "open_tree": ((428, 428), (NO_FILE, NOWHERE, NO_FLAGS)),
    "fsconfig": ((431, 431), (NO_FILE, 99, 0, 0, 0)),
    "mount_setattr": ((442, 442), (NO_FILE, NOWHERE, NO_FLAGS, 0, 0)),
    "unshare": ((272, 97), (1,)),
    "setns": ((308, 268), (NO_FILE, 0)),
    "clone": ((56, 220), (0x10000011, 0, 0, 0, 0)),
}
KERNEL_PARTS = {
    "add_key": ((248, 217), (NOWHERE, 0, 0, 0, 0)),
    "request_key": ((249, 218), (NOWHERE, 0, 0, 0)),
    "keyctl": ((250, 219), (99, 0, 0, 0, 0)),
    "bpf": ((321, 280), (0, 0, 1 << 20)),
    "perf_event_open": ((298, 241), (NOWHERE, 0, 0, NO_FILE, NO_FLAGS)),
    "userfaultfd": ((323, 282), (1,)),
    "io_uring_setup": ((425, 425), (0, 0)),
    "io_uring_enter": ((426, 426), (NO_FILE, 0, 0, 0, 0, 0)),
    "io_uring_register": ((427, 427), (NO_FILE, 0, 0, 0)),
    "name_to_handle_at": ((303, 264), (NO_FILE, NOWHERE, 0, 0, NO_FLAGS)),
    "quotactl": ((179, 60), (-1, 0, 0, 0)),
}
CLOCKS = {
    "settimeofday": ((164, 170), (NOWHERE, 0)),
    "clock_settime": ((227, 112), (0, NOWHERE)),
}
LONG_MODE = """
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    return answer == syscall(SYS_getpid) ? 0 : 1;
}
"""


@pytest.mark.parametrize(
    "calls",
    [PROCESSES, MOUNTS_AND_NAMESPACES, KERNEL_PARTS, CLOCKS],
    ids=["processes", "mounts and namespaces", "parts of the kernel", "clocks"],
)
async def test_calls_are_refused_before_the_kernel_looks_at_them(
    sandbox: Sandbox, calls: dict[str, tuple[tuple[int, int], tuple[int, ...]]]
) -> None:
    seen = await sandbox.run(python(attempts(calls)), "calls")
    assert ast.literal_eval(seen.stdout.decode()) == dict.fromkeys(calls, errno.EPERM), seen.stderr


async def test_namespaces_hidden_from_the_filter_are_not_made(sandbox: Sandbox) -> None:
    clone3 = {"clone3": ((435, 435), (0, 0))}
    seen = await sandbox.run(python(attempts(clone3)), "clone3")
    assert ast.literal_eval(seen.stdout.decode()) == {"clone3": errno.ENOSYS}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="32-bit calls are no part of other machines")
async def test_a_call_of_the_32_bit_kind_ends_the_program(sandbox: Sandbox) -> None:
    seen = await run_c(sandbox, LONG_MODE)
    # A kernel built without them answers with SIGSEGV.
    assert (seen.outcome, seen.signal) in {
        (Outcome.SECURITY_VIOLATION, "SIGSYS"),
        (Outcome.SIGNALLED, "SIGSEGV"),
    }


async def test_devices_can_neither_be_made_nor_used_where_programs_write(sandbox: Sandbox) -> None:
    code = (
        "import os, stat\n"
        "for folder in ('/box', '/tmp', '/dev/shm', '/var/tmp'):\n"
        "    flags = os.statvfs(folder).f_flag\n"
        "    print(bool(flags & os.ST_NODEV), bool(flags & os.ST_NOSUID))\n"
        "    for kind in (stat.S_IFCHR, stat.S_IFBLK):\n"
        "        try: os.mknod(folder + '/device', 0o666 | kind, os.makedev(1, 1)); print('made')\n"
        "        except PermissionError: pass\n"
    )
    seen = await sandbox.run(python(code), "devices")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"True True\n" * 4)


async def test_no_device_but_harmless_ones_is_there(sandbox: Sandbox) -> None:
    code = (
        "import os, stat\n"
        "for folder in ('/dev', '/dev/pts'):\n"
        "    for name in os.listdir(folder) if os.path.isdir(folder) else ():\n"
        "        mode = os.lstat(f'{folder}/{name}').st_mode\n"
        "        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode): print(name)\n"
    )
    seen = await sandbox.run(python(code), "listing")
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
    assert {"null", "zero", "urandom"} <= set(seen.stdout.decode().split()) <= harmless


async def test_no_file_in_sight_changes_who_runs_it(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "for folder in ('/usr/bin', '/usr/sbin', '/usr/lib', '/usr/libexec', '/bin', '/sbin'):\n"
        "    if not os.path.isdir(folder) or os.statvfs(folder).f_flag & os.ST_NOSUID: continue\n"
        "    for top, _, names in os.walk(folder):\n"
        "        for name in names:\n"
        "            if os.lstat(f'{top}/{name}').st_mode & 0o6000: print(top, name)\n"
    )
    seen = await sandbox.run(python(code), "setuid")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"")


async def test_its_own_control_group_cannot_be_changed_or_left(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "print(sorted({line.rstrip().rpartition(':')[2] for line in open('/proc/self/cgroup')}))\n"
        "for top, folders, names in os.walk('/sys/fs/cgroup'):\n"
        "    for name in ('tasks', 'cgroup.procs', 'memory.limit_in_bytes', 'memory.max', 'pids.max',\n"
        "                 'release_agent', 'notify_on_release'):\n"
        "        try: os.close(os.open(f'{top}/{name}', os.O_WRONLY)); print(top, name)\n"
        "        except OSError: pass\n"
        "    try: os.mkdir(top + '/below'); print(top)\n"
        "    except OSError: pass\n"
    )
    seen = await sandbox.run(python(code), "group")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"['/']\n")


async def test_nothing_of_the_kernel_s_own_can_be_set(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/vm/overcommit_memory',\n"
        "             '/proc/sysrq-trigger', '/proc/sys/kernel/hostname', '/proc/1/oom_score_adj',\n"
        "             '/proc/irq/default_smp_affinity', '/sys/power/state'):\n"
        "    try: os.close(os.open(path, os.O_WRONLY)); print(path)\n"
        "    except OSError: pass\n"
    )
    seen = await sandbox.run(python(code), "settings")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"")


async def test_a_verdict_cannot_be_forged(sandbox: Sandbox) -> None:
    report: dict[str, object] = {
        "status": 0,
        "killed_for": None,
        "duration_s": 0,
        "cpu_s": 0,
        "peak_bytes": 0,
        "files": [],
    }
    counts = dict.fromkeys(("out_of_memory_kills", "refused_processes"), 0)
    flags = dict.fromkeys(("disk_full", "stdout_truncated", "stderr_truncated"), False)
    frame = b"".join(wire.encode({"number": 1, **report, **counts, **flags}, b"forged", b""))
    code = (
        "import os\n"
        f"frame = {frame!r}\n"
        "for process in ('1', str(os.getppid()), 'self'):\n"
        "    for number in range(3, 64):\n"
        "        for path in (f'/proc/{process}/fd/{number}', f'/proc/{process}/fd/{number - 3}'):\n"
        "            try:\n"
        "                if process != 'self': os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), frame)\n"
        "                else: os.write(number, frame)\n"
        "            except OSError: pass\n"
        "os.write(1, b'PASS')\n"
        "os._exit(3)\n"
    )
    seen = await sandbox.run(python(code), "forger")
    assert (seen.outcome, seen.exit_code, seen.stdout) == (Outcome.NONZERO_EXIT, 3, b"PASS")


async def test_a_frame_on_its_own_output_is_output(sandbox: Sandbox) -> None:
    frame = b"".join(wire.encode({"number": 1, "status": 0}, b"forged"))
    seen = await sandbox.run(python(f"import os; os.write(1, {frame!r}); os._exit(3)"), "frame")
    assert (seen.exit_code, seen.stdout) == (3, frame)


async def test_leaving_by_a_back_door_with_success_is_told_as_it_is(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("echo half; exec /bin/true; echo whole"), "early")
    assert (seen.outcome, seen.exit_code, seen.stdout) == (Outcome.OK, 0, b"half\n")
