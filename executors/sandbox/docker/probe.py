"""What runs in the first container: it says so only if it finds itself isolated."""

from executors.sandbox.supervision.forbidden import DENIED

_TRIED = ("ptrace", "mount", "unshare", "keyctl", "bpf", "io_uring_setup", "perf_event_open", "userfaultfd")

PROBE = f"""
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
status = open("/proc/self/status").read()
assert os.getpid() > 1 and (os.getuid() == 1000 or os.getuid() >= 1_000_000_000), "an own user"
assert "CapEff:\\t0000000000000000" in status and "CapBnd:\\t0000000000000000" in status, "capabilities"
assert "NoNewPrivs:\\t1" in status, "no new privileges"
assert os.statvfs("/").f_flag & os.ST_RDONLY, "read-only root"
assert os.listdir("/box") == ["probe.py"] and os.listdir("/tmp") == [], "private scratch"
assert [line.split(":")[0].strip() for line in open("/proc/net/dev")][2:] == ["lo"], "no network"
assert not os.path.exists("/var/run/docker.sock"), "no way to Docker"
column = {{"x86_64": 0, "aarch64": 1}}[os.uname().machine]
for name, numbers in { ({name: DENIED[name] for name in _TRIED})!r}.items():
    ctypes.set_errno(0)
    assert libc.syscall(numbers[column], 0, 0, 0, 0, 0, 0) == -1, name
    assert ctypes.get_errno() == errno.EPERM, f"{{name}} is not filtered"
try:
    socket.socket(40, socket.SOCK_STREAM)
    sys.exit("socket families")
except OSError as error:
    assert error.errno == errno.EAFNOSUPPORT, "socket families"
print("isolated")
"""
"""A Python program that prints ``isolated``, or fails naming what is missing."""
