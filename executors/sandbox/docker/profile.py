"""What Docker is told of a container: the hardened profile, and the system call filter in Docker's words."""

import errno
import json
import os
from typing import Any

from executors.sandbox.supervision.seccomp import ALL_NAMESPACES, DENIED, KILLED, SOCKET_FAMILIES
from executors.sandbox.supervision.syscalls import CLONE_NEWUSER

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_SHM_BYTES = 16 << 20
_MOST_INODES = 4096
_MIB = 1 << 20
_MASKED = (
    *("acpi", "asound", "bus", "config.gz", "consoles", "crypto", "devices", "diskstats", "dma", "driver"),
    *("execdomains", "fs", "interrupts", "iomem", "ioports", "irq", "kallsyms", "kcore", "key-users", "keys"),
    *("kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "locks", "misc", "modules"),
    *("pagetypeinfo", "partitions", "pressure", "sched_debug", "schedstat", "scsi", "slabinfo", "softirqs"),
    *("swaps", "sysrq-trigger", "sysvipc", "timer_list", "timer_stats", "tty", "vmallocinfo", "zoneinfo"),
)
_MASKED_SYSTEM = (
    "block",
    "bus",
    "class",
    "dev",
    "devices",
    "firmware",
    "hypervisor",
    "kernel",
    "module",
    "power",
)
"""All of /sys but the container's own control group, whose books the launcher reads."""

_LAUNCHER_SCORE = 500  # the program raises its own to 1000, so that it goes before the launcher


def seccomp() -> str:
    """The filter as a Docker profile; native architecture only. Raises ``KeyError`` where there is none."""
    refused_family = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EAFNOSUPPORT}
    families = [value for value in range(max(SOCKET_FAMILIES)) if value not in SOCKET_FAMILIES]
    sockets = ["socket", "socketpair"]
    rules: list[dict[str, Any]] = [
        {"names": sorted(DENIED.keys() - {"unshare"}), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        {"names": sorted(KILLED), "action": "SCMP_ACT_KILL_PROCESS"},
        # Its flags are behind a pointer where no filter can look; callers then fall back to clone.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        {"names": sockets, **refused_family, "args": [_test("SCMP_CMP_GT", max(SOCKET_FAMILIES))]},
        *({"names": sockets, **refused_family, "args": [_test("SCMP_CMP_EQ", each)]} for each in families),
    ]
    denied = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    for bit in (1 << number for number in range(32)):
        test = {**_test("SCMP_CMP_MASKED_EQ", bit), "valueTwo": bit}
        if bit & ALL_NAMESPACES:
            rules.append({"names": ["clone"], **denied, "args": [test]})
        if bit != CLONE_NEWUSER:
            # The launcher's own way to a user number; it puts a filter without this exception over programs.
            rules.append({"names": ["unshare"], **denied, "args": [test]})
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [_ARCHITECTURES[os.uname().machine]],
        "syscalls": rules,
    }
    return json.dumps(profile)


def host_config(user: int, disk_mb: int, memory_bytes: int, processes: int) -> dict[str, Any]:
    """Arguments for docker's ``create_host_config``.

    ``user`` owns the places that may be written, each of ``disk_mb`` MiB; ``memory_bytes`` and ``processes``
    can be set anew while the container waits.
    """
    size = f"size={disk_mb * _MIB},nr_inodes={_MOST_INODES}"
    everyones = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (the container's own)
    return {
        "read_only": True,
        "privileged": False,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges=true", f"seccomp={seccomp()}"],
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "pids_limit": processes,
        "tmpfs": {
            "/box": f"rw,nosuid,nodev,exec,{size},mode=755,uid={user},gid={user}",
            **dict.fromkeys(everyones, f"rw,nosuid,nodev,exec,{size},mode=1777"),
        },
        "shm_size": _SHM_BYTES,
        "ipc_mode": "private",
        "cgroupns": "private",
        "oom_score_adj": _LAUNCHER_SCORE,
        "log_config": {"Type": "none"},
        "init": False,
    }


def masked_paths() -> list[str]:
    """What of the host's kernel is hidden: none of it is needed, and some of it has let programs out."""
    return [*(f"/proc/{name}" for name in _MASKED), *(f"/sys/{name}" for name in _MASKED_SYSTEM)]


def _test(operator: str, value: int) -> dict[str, Any]:
    return {"index": 0, "value": value, "op": operator}
