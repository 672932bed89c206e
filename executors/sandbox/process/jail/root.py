"""What a program sees of the file system: a read-only system and nothing of the host's own."""

import os
import socket
import struct
from fcntl import ioctl

from executors.sandbox.supervision import syscalls as sc

SCRATCH = "/scratch"
_SCRATCH_LINKS = {"/dev/shm": "/scratch/shm", "/var/tmp": "/scratch/vartmp"}  # noqa: S108 (the jail's)
_MOUNT_POINT = "/sys"  # exists everywhere, and nothing below it is needed once the new root stands
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SHARED_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "java-17-openjdk",
    "java-21-openjdk",
)
_OWN_ETC = {
    "passwd": "sandbox:x:1000:1000::/box:/bin/sh\n",
    "group": "sandbox:x:1000:\n",
    "hosts": "127.0.0.1 localhost crucible\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def enter(extra_folders: list[str], masked: list[str]) -> None:
    """Build the root in this process's own mount namespace and move into it.

    ``extra_folders`` are shown read-only at their own paths (an interpreter outside /usr), and folders
    ``masked`` are shown empty.
    """
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    sc.mount("root", _MOUNT_POINT, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=755,size=8m")
    _system(extra_folders)
    for folder in masked:
        sc.mount(
            "masked", _MOUNT_POINT + folder, "tmpfs", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV, "size=4k"
        )
    _etc()
    _devices()
    for folder in ("proc", "box", "tmp", "scratch", "var", "run"):
        os.makedirs(f"{_MOUNT_POINT}/{folder}", exist_ok=True)
    for link, target in _SCRATCH_LINKS.items():
        os.symlink(target, _MOUNT_POINT + link)
    # The kernel lets a user namespace mount a /proc only where one is in sight. Each cell covers this
    # one with its own, and nobody in a cell may uncover it.
    sc.mount("/proc", _MOUNT_POINT + "/proc", None, sc.MS_BIND | sc.MS_REC)
    sc.pivot_into(_MOUNT_POINT)
    sc.mount("root", "/", None, sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV)


def _system(extra_folders: list[str]) -> None:
    for folder in ("/usr", *extra_folders):
        os.makedirs(_MOUNT_POINT + folder, exist_ok=True)
        sc.bind_read_only(folder, _MOUNT_POINT + folder)
        for above in _folders_above(folder):
            os.chmod(_MOUNT_POINT + above, 0o111)  # noqa: S103 (to be walked through, not looked into)
    for name in _SYSTEM_FOLDERS:
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), f"{_MOUNT_POINT}/{name}")
        elif os.path.isdir("/" + name):
            os.mkdir(f"{_MOUNT_POINT}/{name}")
            sc.bind_read_only("/" + name, f"{_MOUNT_POINT}/{name}")


def _folders_above(folder: str) -> list[str]:
    parts = folder.strip("/").split("/")
    return ["/" + "/".join(parts[:depth]) for depth in range(1, len(parts))]


def _etc() -> None:
    os.mkdir(_MOUNT_POINT + "/etc")
    for name, text in _OWN_ETC.items():
        with open(f"{_MOUNT_POINT}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    for name in _SHARED_ETC:
        _copy(f"/etc/{name}", f"{_MOUNT_POINT}/etc/{name}")


def _copy(source: str, target: str) -> None:
    """Copy a file or folder that may be missing. Each mount in its stead would cost every cell."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.mkdir(target)
        for name in os.listdir(source):
            _copy(f"{source}/{name}", f"{target}/{name}")
    elif os.access(source, os.R_OK):
        with open(source, "rb") as read, open(target, "wb") as written:
            written.write(read.read())


def _devices() -> None:
    os.mkdir(_MOUNT_POINT + "/dev")
    for name in _DEVICES:
        target = f"{_MOUNT_POINT}/dev/{name}"
        with open(target, "w", encoding="utf-8"):
            pass
        sc.mount(f"/dev/{name}", target, None, sc.MS_BIND)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        os.symlink("/proc/self/fd" + target, f"{_MOUNT_POINT}/dev/{name}")


def private_network() -> None:
    """Raise loopback in this process's own network namespace, and keep closed connections from lingering.

    The namespace is shared by the programs that a slot runs one after another; without TIME_WAIT
    buckets nothing of one program's sockets is left for the next.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w", encoding="utf-8") as file:
        file.write("0")


def scratch(size_bytes: int) -> None:
    """Mount one fresh, sized file system and show it at every place a program may write."""
    # Inodes are kernel memory that a size limit does not count.
    options = f"mode=755,size={size_bytes},nr_inodes=4096"
    sc.mount("scratch", SCRATCH, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, options)
    os.umask(0)
    os.mkdir("/scratch/box", 0o755)
    sc.mount("/scratch/box", "/box", None, sc.MS_BIND)
    os.mkdir("/scratch/tmp", 0o1777)
    sc.mount("/scratch/tmp", "/tmp", None, sc.MS_BIND)  # noqa: S108 (of this namespace, and empty)
    for folder in _SCRATCH_LINKS.values():
        os.mkdir(folder, 0o1777)


def process_list() -> None:
    """Mount a /proc that shows this PID namespace's own processes and nothing of the host."""
    flags = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
    sc.mount("proc", "/proc", "proc", flags, "subset=pid,hidepid=2")
