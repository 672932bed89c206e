"""A pod's container as runc runs it: what a cluster asks of a runtime, in the runtime's own words."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.kubernetes.workloads import Workload

_MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware")
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""What of /proc and /sys runtimes cover, unless a pod says ``procMount: Unmasked``."""

_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_SYSTEM = ("/usr", "/etc")
_LINKS = ("bin", "sbin", "lib", "lib64")
_USERS = {"containerID": 0, "hostID": 1 << 20, "size": 1 << 16}


def run(
    workload: Workload,
    command: Sequence[str],
    environment: Mapping[str, str],
    shown: Mapping[str, Path],
    stdin: str,
    folder: Path,
) -> str:
    """Runs ``command`` with the rights of the workload's container; returns what it prints.

    The image is this machine's system, with ``shown`` in it, read-only. Everybody may look into ``folder``.
    """
    root = folder / "root"
    for name in ("proc", "sys", "dev", "tmp", "usr", "etc", *(path.strip("/") for path in shown)):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _LINKS:
        if Path(f"/{name}").is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for each in workload.container["volumeMounts"]:
        (root / each["mountPath"].strip("/")).mkdir(parents=True, exist_ok=True)
    configuration = _configuration(workload, command, environment, shown)
    (folder / "config.json").write_text(json.dumps(configuration))
    ran = subprocess.run(
        [
            str(shutil.which("runc")),
            "--root",
            folder / "state",
            "run",
            "--bundle",
            folder,
            f"crucible-test-{uuid4().hex}",
        ],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _configuration(
    workload: Workload, command: Sequence[str], environment: Mapping[str, str], shown: Mapping[str, Path]
) -> dict[str, Any]:
    pod, context = workload.pod["securityContext"], workload.container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "root", "readonly": context["readOnlyRootFilesystem"]},
        "process": {
            "args": list(command),
            "cwd": "/tmp",
            "env": [f"{name}={value}" for name, value in environment.items()],
            "user": {"uid": pod["runAsUser"], "gid": pod["runAsGroup"]},
            "noNewPrivileges": not context["allowPrivilegeEscalation"],
        },
        "mounts": list(_mounts(workload, shown)),
        "linux": _linux(workload),
    }


def _linux(workload: Workload) -> dict[str, Any]:
    """Without a filter of system calls, which is for workloads alone that ask for none."""
    assert workload.pod["securityContext"]["seccompProfile"] == {"type": "Unconfined"}
    is_whole = workload.container["securityContext"].get("procMount") == "Unmasked"
    namespaces = [*_NAMESPACES, *(() if workload.pod.get("hostUsers", True) else ("user",))]
    users = [_USERS] if "user" in namespaces else []
    return {
        "namespaces": [{"type": kind} for kind in namespaces],
        "uidMappings": users,
        "gidMappings": users,
        "maskedPaths": [] if is_whole else _MASKED,
        "readonlyPaths": [] if is_whole else _READ_ONLY,
    }


def _mounts(workload: Workload, shown: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    safe = ["nosuid", "nodev"]
    yield {"destination": "/proc", "type": "proc", "source": "proc", "options": [*safe, "noexec"]}
    yield {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
    yield {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "noexec", "ro"]}
    for path, source in {**{each: Path(each) for each in _SYSTEM}, **shown}.items():
        yield {"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
    for each in workload.container["volumeMounts"]:
        options = [*safe, "mode=1777", "size=256m"]
        yield {"destination": each["mountPath"], "type": "tmpfs", "source": "tmpfs", "options": options}
