"""Programs that look for a way to others: the host, the network, each other, those before and after them."""

import asyncio
import socket
import uuid
from pathlib import Path

import pytest

from crucible.models import Limits, Outcome
from executors.sandbox.interface import Sandbox
from executors.sandbox.process.sandbox import ProcessSandbox
from tests.support.programs import PYTHON, SLOTS, processes_with, python, shell
from tests.support.threats import canary
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOLDS = """
import fcntl, time
locked = open({path!r})
fcntl.flock(locked, fcntl.LOCK_EX); print("held", flush=True); time.sleep(300)
"""
ASKS = """
import fcntl, time
locked = open({path!r})
found = "free"
for _ in range(30):
    try: fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError: found = "taken"
    else: fcntl.flock(locked, fcntl.LOCK_UN)
    time.sleep(0.1)
print(found)
"""
WATCHES = """
import ctypes, select
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(0)
assert libc.inotify_add_watch(watch, b"/usr/bin/env", 0x20) == 1  # told when it is opened
print("told" if select.select([watch], [], [], 3)[0] else "nothing")
"""
KEYRING = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
column = ["x86_64", "aarch64"].index(platform.machine())
for ring in (-1, -2, -3, -4, -5):  # of thread, process, session, user and the user's sessions
    key = libc.syscall((248, 217)[column], b"user", b"canary", b"left", 4, ring)
    found = libc.syscall((250, 219)[column], 10, ring, b"user", b"canary", 0)
    print(key, found)
"""


async def test_there_is_no_way_to_the_cloud_s_metadata_or_to_other_machines(sandbox: Sandbox) -> None:
    code = (
        "import socket\n"
        "for address in ('169.254.169.254', '10.0.0.1', '172.17.0.1', 'fd00:ec2::254'):\n"
        "    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n"
        "    with socket.socket(family, socket.SOCK_DGRAM) as tried:\n"
        "        try: tried.connect((address, 80)); print(address)\n"  # looks for a way and sends nothing
        "        except OSError as error: assert error.errno in (99, 101), error\n"
    )
    seen = await sandbox.run(python(code), "metadata")
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"", b"")


async def test_no_name_is_resolved_and_no_datagram_gets_to_the_host(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        resolver.setblocking(False)
        code = (
            "import socket\n"
            "try: socket.getaddrinfo('canary.example.com', 80); print('resolved')\n"
            "except OSError: pass\n"
            "query = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"query.sendto(b'canary', ('127.0.0.1', {resolver.getsockname()[1]}))\n"
            "print('sent')"
        )
        seen = await sandbox.run(python(code), "names")
        with pytest.raises(BlockingIOError):
            resolver.recv(64)
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"sent\n")


async def test_the_host_s_resolver_is_not_told(sandbox: Sandbox) -> None:
    seen = await sandbox.run(shell("cat /etc/resolv.conf 2>/dev/null"), "resolver")
    told = {line.split()[1] for line in seen.stdout.decode().splitlines() if line.startswith("nameserver")}
    assert told <= {"0.0.0.0"}


async def test_no_socket_of_docker_or_of_the_system_s_own_is_in_sight(sandbox: Sandbox) -> None:
    code = (
        "import os, stat\n"
        "for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock',\n"
        "             '/run/dbus/system_bus_socket', '/run/systemd/private'):\n"
        "    if os.path.lexists(path): print(path)\n"
        "for top, folders, names in os.walk('/'):\n"
        "    if top == '/': folders[:] = {*folders} - {'proc', 'sys', 'usr'}\n"
        "    for name in names:\n"
        "        if stat.S_ISSOCK(os.lstat(f'{top}/{name}').st_mode): print(top, name)\n"
    )
    seen = await sandbox.run(python(code), "sockets")
    assert (seen.outcome, seen.stdout, seen.stderr) == (Outcome.OK, b"", b"")


async def test_two_programs_at_once_share_no_name_of_a_socket(sandbox: Sandbox) -> None:
    listens = (
        "import socket, time\n"
        "own = socket.socket(socket.AF_UNIX); own.bind('\\0meeting'); own.listen()\n"
        "other = socket.create_server(('127.0.0.1', 7000))\n"
        "own.settimeout(1.2); own.accept(); print('met')\n"
    )
    connects = (
        "import socket, time\n"
        "for family, name in ((socket.AF_UNIX, '\\0meeting'), (socket.AF_INET, ('127.0.0.1', 7000))):\n"
        "    try: socket.socket(family).connect(name); print('met')\n"
        "    except ConnectionRefusedError: pass\n"
    )
    waiting = asyncio.create_task(sandbox.run(python(listens), "listens"))
    await asyncio.sleep(0.5)
    seen = await sandbox.run(python(connects), "connects")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"")
    assert (await waiting).stdout == b""


async def test_keys_of_the_kernel_are_not_left_for_the_next_program(sandbox: Sandbox) -> None:
    for _ in range(2 * SLOTS):
        seen = await sandbox.run(python(KEYRING), "keys")
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"-1 -1\n" * 5)


async def test_a_lock_on_a_file_of_its_own_is_seen_by_no_other_program(sandbox: Sandbox) -> None:
    assert await _asked_while_held(sandbox, "/box/main.py") == b"free\n"


async def test_a_lock_on_a_file_of_the_system_is_seen_where_the_system_is_the_host_s(
    sandbox: Sandbox,
) -> None:
    # The process sandbox shows the host's own files; that this is a channel is stated in docs/security.md.
    answer = b"taken\n" if isinstance(sandbox, ProcessSandbox) else b"free\n"
    assert await _asked_while_held(sandbox, PYTHON) == answer


async def test_a_watch_on_a_file_of_the_system_tells_of_others_where_the_system_is_the_host_s(
    sandbox: Sandbox,
) -> None:
    watcher = asyncio.create_task(sandbox.run(python(WATCHES), "watches"))
    while not watcher.done():  # nobody says when it has begun to watch
        await sandbox.run(shell("cat /usr/bin/env >/dev/null"), "opens")
    answer = b"told\n" if isinstance(sandbox, ProcessSandbox) else b"nothing\n"
    assert (await watcher).stdout == answer


async def _asked_while_held(sandbox: Sandbox, path: str) -> bytes:
    marker = str(uuid.uuid4())
    holds = python(HOLDS.format(path=path), limits=Limits(wall_s=300), argument=marker)
    holder = asyncio.create_task(sandbox.run(holds, marker))
    await eventually(lambda: bool(processes_with(marker)))
    seen = await sandbox.run(python(ASKS.format(path=path)), "asks")
    assert await sandbox.cancel(marker)
    assert (await holder).stdout == b"held\n"
    return seen.stdout


async def test_leases_on_the_host_s_files_are_refused(sandbox: Sandbox) -> None:
    code = (
        "import fcntl\n"
        "for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):\n"
        f"    try: fcntl.fcntl(open({PYTHON!r}), fcntl.F_SETLEASE, kind); print('leased')\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    seen = await sandbox.run(python(code), "lease")
    assert b"leased" not in seen.stdout
    assert seen.outcome is Outcome.OK


async def test_answers_that_lie_beside_the_service_are_not_there(sandbox: Sandbox) -> None:
    with canary("the answers") as file:
        code = (
            f"find {file.parent} {Path(__file__).parent} /root /home /srv /opt /mnt -type f 2>/dev/null\n"
            f"cat {file} {__file__} 2>/dev/null; true"
        )
        seen = await sandbox.run(shell(code), "answers")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"")
