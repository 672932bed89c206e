"""What ordinary programs do with files, processes and sockets works as it does without any sandbox."""

import pytest

from crucible.models import Outcome
from executors.sandbox.interface import Sandbox
from tests.support.programs import python

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILES = """
import os
for folder in ("/box", "/tmp", "/dev/shm", "/var/tmp"):
    os.makedirs(f"{folder}/a/b"); os.mkdir(f"{folder}/c")
    with open(f"{folder}/a/b/file", "w") as file:
        file.write("text")
    os.rename(f"{folder}/a/b/file", f"{folder}/c/moved")
    os.link(f"{folder}/c/moved", f"{folder}/a/linked")
    os.symlink("../moved", f"{folder}/a/symlink")
    os.rename(f"{folder}/a", f"{folder}/c/a")
    os.truncate(f"{folder}/c/moved", 2)
    os.mkfifo(f"{folder}/fifo")
    nameless = os.open(folder, os.O_TMPFILE | os.O_RDWR)
    os.write(nameless, b"named later")
    os.link(str(nameless), f"{folder}/c/named", src_dir_fd=os.open("/proc/self/fd", 0), follow_symlinks=True)
    texts = [open(f"{folder}/c/a/{name}").read() for name in ("linked", "symlink")]
    print(*texts, len(os.listdir(folder + "/c")))
    os.chmod(f"{folder}/c/moved", 0o755); os.utime(f"{folder}/c/moved", (1, 1))
    os.unlink(f"{folder}/c/a/linked"); os.unlink(f"{folder}/c/a/symlink"); os.removedirs(f"{folder}/c/a/b")
"""

DEVICES = """
import fcntl, os, termios
open("/dev/stdout", "a").write("by name\\n")
for name in ("null", "zero", "full"):
    with open(f"/dev/{name}", "r+b", buffering=0) as device:
        try:
            fcntl.ioctl(device, termios.TIOCGWINSZ, bytes(8))
        except OSError as error:
            print(name, os.strerror(error.errno))
open("/dev/null", "w").write("gone")
print(len(os.urandom(4)), open("/dev/zero", "rb", buffering=0).read(2))
open("/proc/self/comm", "w").write("renamed")
open(f"/proc/self/task/{os.getpid()}/comm", "r+").write("again")
open("/proc/self/oom_score_adj", "w").write("1000")
print(open("/proc/self/comm").read().strip())
"""

TOGETHER = """
import os, signal, socket, subprocess, threading
child = subprocess.Popen(["/bin/sleep", "60"])
os.kill(child.pid, signal.SIGTERM)
print(child.wait())
signal.signal(signal.SIGUSR1, lambda *_: print("signalled"))
other = threading.Thread(target=signal.pthread_kill, args=(threading.main_thread().ident, signal.SIGUSR1))
other.start()
other.join()
for family, address in (
    (socket.AF_UNIX, "/tmp/socket"), (socket.AF_UNIX, "\\0abstract"), (socket.AF_INET, ("127.0.0.1", 0))
):
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind(address)
        server.listen()
        client.connect(server.getsockname())
        server.accept()[0].sendall(b"heard")
        print(client.recv(5))
"""


PRINTED = {
    FILES: "te te 3\n" * 4,
    DEVICES: """by name
null Inappropriate ioctl for device
zero Inappropriate ioctl for device
full Inappropriate ioctl for device
4 b'\\x00\\x00'
again
""",
    TOGETHER: "-15\nsignalled\n" + "b'heard'\n" * 3,
}


@pytest.mark.parametrize("code", PRINTED, ids=["files", "devices", "processes and sockets"])
async def test_ordinary_programs_notice_nothing(sandbox: Sandbox, code: str) -> None:
    seen = await sandbox.run(python(code), "ordinary")
    assert seen.stderr == b""
    assert (seen.outcome, seen.stdout.decode()) == (Outcome.OK, PRINTED[code])
