"""The system calls that Python 3.11 does not wrap."""

import ctypes
import os
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_MODE_FILTER = 2
SECUREBITS_LOCKED = 0b101111  # noroot, no_setuid_fixup and keep_caps off, each locked

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_MOUNT_ATTR_NOSUID = 2
_MOUNT_ATTR_NODEV = 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
# ctypes makes an array type anew each time it is spelled out.
_CapabilityHeader = ctypes.c_uint32 * 2
_CapabilityData = ctypes.c_uint32 * 6


class MountAttributes(ctypes.Structure):
    """The kernel's ``struct mount_attr``."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class FilterProgram(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, call: str, *details: object) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}({', '.join(map(str, details))}): {os.strerror(number)}")
    return result


def system_call(number: int, *arguments: Any) -> int:
    """Call the kernel by number, where the C library has no name for it, with arguments ready for ctypes."""
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}", *arguments)


def unshare(flags: int) -> None:
    """Move this process (for PIDs: its future children) into new namespaces."""
    _check(_libc.unshare(flags), "unshare", hex(flags))


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount ``source`` on ``target``; without ``kind`` as the ``flags`` say (bind, remount)."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, "mount", source, target, kind or "bind")


def bind_read_only(source: str, target: str) -> None:
    """Show ``source`` and all that is mounted below it at ``target``: no writing, no devices, no setuid."""
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = MountAttributes(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    system_call(
        _MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def pivot_into(new_root: str) -> None:
    """Make ``new_root`` the root and let go of the old one for good."""
    os.chdir(new_root)
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root", new_root)
    _check(_libc.umount2(b".", MNT_DETACH), "umount2", "old root")
    os.chdir("/")


def prctl(option: int, argument: int = 0, pointer: ctypes.Structure | None = None) -> None:
    """Set one property of this process, with an integer argument and, for seccomp, a structure."""
    third = ctypes.byref(pointer) if pointer is not None else ctypes.c_ulong(0)
    result = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(argument), third, ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    _check(result, "prctl", option)


def set_capabilities(mask: int) -> None:
    """Set the effective and permitted capabilities to ``mask`` and the inheritable ones to none."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = _CapabilityData(low, low, 0, high, high, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset", hex(mask))


def sethostname(name: str) -> None:
    """Name the host of this UTS namespace."""
    _check(_libc.sethostname(name.encode(), ctypes.c_size_t(len(name))), "sethostname", name)
