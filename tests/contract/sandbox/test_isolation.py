"""What a program sees and may do."""

import ast
import os
import socket
from pathlib import Path

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import PYTHON, SLOTS, python, shell

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCKER = "containers"
WHERE_AM_I = """
import os, socket
def status(*names):
    lines = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
    return [lines[name] for name in names]
print([
    os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getpid(), os.getppid(), os.getsid(0),
    socket.gethostname(), os.getcwd(), os.umask(0), sorted(os.environ), open("/proc/self/cgroup").read(),
    sorted(os.listdir("/proc/self/fd")), sorted(os.listdir("/")), sorted(os.listdir("/box")),
    status("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"),
])
"""
CALLS = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
machine = ["x86_64", "aarch64"].index(platform.machine())
def errno_of(result):
    return ctypes.get_errno() if result < 0 else 0
def by_number(*numbers):
    return errno_of(libc.syscall(numbers[machine], 0, 0, 0, 0, 0))
print({
    "ptrace": errno_of(libc.ptrace(0, 0, 0, 0)),
    "mount": errno_of(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "umount": errno_of(libc.umount2(b"/proc", 2)),
    "unshare": errno_of(libc.unshare(0x10000000)),
    "setns": errno_of(libc.setns(0, 0)),
    "clone": errno_of(libc.syscall([56, 220][machine], 0x10000011, 0, 0, 0, 0)),
    "chroot": errno_of(libc.chroot(b"/tmp")),
    "keyctl": by_number(250, 219),
    "add_key": by_number(248, 217),
    "bpf": by_number(321, 280),
    "perf_event_open": by_number(298, 241),
    "userfaultfd": by_number(323, 282),
    "io_uring_setup": by_number(425, 425),
    "process_vm_readv": by_number(310, 270),
    "open_by_handle_at": by_number(304, 265),
})
"""


async def test_every_slot_gives_programs_the_same_surroundings(sandbox: Sandbox) -> None:
    seen = [await sandbox.run(python(WHERE_AM_I), "where") for _ in range(2 * SLOTS)]
    assert {each.outcome for each in seen} == {Outcome.OK}, seen[0].stderr
    assert len({each.stdout for each in seen}) == 1


async def test_a_program_is_nobody_with_nothing(sandbox: Sandbox) -> None:
    seen = ast.literal_eval((await sandbox.run(python(WHERE_AM_I), "who")).stdout.decode())
    assert seen[:4] == [1000] * 4
    assert (seen[4] > 1, seen[5], seen[6]) == (True, 1, seen[4])
    assert seen[7:10] == ["crucible", "/box", 0o022]
    assert seen[10] == ["HOME", "LANG", "PATH"]
    assert all(line.endswith(":/") for line in seen[11].splitlines())
    assert seen[12] == ["0", "1", "2", "3"]  # the last one is the listing's own
    assert set(seen[13]) <= {
        *("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "proc"),
        *("box", "tmp", "scratch", "var", "run", "root", "home", "opt"),
        *("boot", "media", "mnt", "srv", "sys", ".dockerenv", "crucible"),
    }
    assert seen[14] == ["main.py"]
    assert [int(mask, 16) for mask in seen[15][:5]] == [0] * 5
    assert seen[15][5:] == ["1", "2"]


async def test_system_calls_that_lead_out_are_denied(sandbox: Sandbox) -> None:
    seen = await sandbox.run(python(CALLS), "calls")
    denied = ast.literal_eval(seen.stdout.decode())
    assert set(denied.values()) == {1}, denied


async def test_exotic_sockets_are_refused(sandbox: Sandbox) -> None:
    code = (
        "import socket\n"
        "for family in (socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG):\n"
        "    try: socket.socket(family, socket.SOCK_RAW)\n"
        "    except OSError as error: print(error.errno)\n"
        "try: socket.socketpair(socket.AF_TIPC, socket.SOCK_STREAM)\n"
        "except OSError as error: print(error.errno)\n"
        "socket.socketpair(); socket.socket(socket.AF_INET6)\n"
    )
    seen = await sandbox.run(python(code), "sockets")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"97\n" * 5)


async def test_there_is_no_network_and_no_way_to_the_host_s_loopback(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0crucible-test-{os.getpid()}")
        local.listen()
        code = (
            "import socket\n"
            f"for family, to in ((2, ('192.0.2.1', 80)), (2, ('127.0.0.1', {host.getsockname()[1]})),\n"
            f"                   (1, '\\0crucible-test-{os.getpid()}')):\n"
            "    try: socket.socket(family).connect(to); print('connected')\n"
            "    except OSError as error: print(error.strerror)\n"
        )
        seen = await sandbox.run(python(code), "network")
    assert seen.stdout == b"Network is unreachable\nConnection refused\nConnection refused\n"


async def test_a_program_may_use_a_loopback_of_its_own(sandbox: Sandbox) -> None:
    code = (
        "import socket\n"
        "own = ('127.0.0.1', 8000)\n"
        "server = socket.create_server(own)\n"
        "socket.create_connection(own)"
    )
    assert (await sandbox.run(python(code), "loopback")).outcome is Outcome.OK


async def test_the_host_s_files_and_environment_cannot_be_seen(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    secret.chmod(0o666)
    monkeypatch.setenv("CRUCIBLE_TEST_CANARY", "canary")
    code = (
        "import glob, os\n"
        f"for path in ('{secret}', '/proc/1/environ', '/proc/kcore', '/proc/keys', '/proc/kallsyms',\n"
        "             '/proc/timer_list', '/sys/kernel/notes', '/dev/sda', '/dev/vda', '/dev/mem',\n"
        "             '/dev/tty', '/dev/kmsg', '/var/run/docker.sock', '/run/docker.sock'):\n"
        "    try:\n"
        "        if open(path, 'rb').read(1): print(path)\n"
        "    except OSError: pass\n"
        "for name in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try:\n"
        "        if b'canary' in open(name, 'rb').read(): print(name)\n"
        "    except PermissionError: pass\n"
        "print(os.listdir('/sys/class') if os.path.exists('/sys') else [])\n"
    )
    seen = await sandbox.run(python(code), "host")
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"[]\n", b"")


async def test_only_a_program_s_own_processes_are_listed(sandbox: Sandbox) -> None:
    code = (
        "import glob\n"
        "print([open(path).read().split('\\0')[0] for path in glob.glob('/proc/[0-9]*/cmdline')])"
    )
    seen = await sandbox.run(python(code), "proc")
    listed = ast.literal_eval(seen.stdout.decode())
    own = {"/usr/bin/python3"} if DOCKER in sandbox.isolation_level else set()  # its launcher is in sight
    assert set(listed) == {PYTHON, *own}
    assert len(listed) == 1 + len(own)


async def test_only_scratch_places_can_be_written(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "for top, folders, _ in os.walk('/'):\n"
        "    if top in ('/', '/usr', '/etc'): folders[:] = {*folders} - {'proc', 'lib', 'share'}\n"
        "    try: open(top + '/probe', 'w').close()\n"
        "    except OSError: continue\n"
        "    os.unlink(top + '/probe'); print(top)\n"
    )
    seen = await sandbox.run(python(code), "writable")
    scratch = {"/box", "/tmp", "/scratch"} | {f"/scratch/{name}" for name in ("box", "tmp", "shm", "vartmp")}
    if DOCKER in sandbox.isolation_level:
        scratch = {"/box", "/tmp", "/var/tmp", "/dev/shm"}
    assert set(seen.stdout.decode().split()) == scratch


async def test_writable_places_have_the_size_that_was_set(sandbox: Sandbox) -> None:
    code = (
        "import os\n"
        "for path in ('/box', '/tmp', '/dev/shm', '/var/tmp'):\n"
        "    state = os.statvfs(path); print(state.f_blocks * state.f_frsize >> 20, state.f_files)"
    )
    seen = await sandbox.run(python(code, limits=Limits(disk_mb=7)), "sizes")
    assert seen.stdout == b"7 4096\n" * 4


async def test_limits_cannot_be_raised(sandbox: Sandbox) -> None:
    code = (
        "import resource\n"
        "for name in ('CPU', 'FSIZE', 'NPROC', 'NOFILE', 'STACK', 'CORE'):\n"
        "    kind = getattr(resource, 'RLIMIT_' + name)\n"
        "    soft, hard = resource.getrlimit(kind)\n"
        "    assert soft == hard != resource.RLIM_INFINITY, kind\n"
        "    try: resource.setrlimit(kind, (hard + 1, hard + 1)); print(kind)\n"
        "    except (ValueError, OSError): pass\n"
    )
    seen = await sandbox.run(python(code), "rlimits")
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"", b"")


async def test_set_user_id_programs_gain_nothing(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("su -c id </dev/null; mount -t tmpfs none /tmp; id -u"), "setuid")
    assert seen.stdout == b"1000\n"
