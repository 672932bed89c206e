"""Whose a container is: an executor of a name, alive or dead."""

import os
from pathlib import Path

NAME_LABEL, OWNER_LABEL = "crucible.executor", "crucible.owner"
_START_FIELD = 19  # of /proc/PID/stat, counted from the state on


def labels(name: str) -> dict[str, str]:
    """Marks for the containers of this process, an executor called ``name``."""
    return {NAME_LABEL: name, OWNER_LABEL: f"{_boot()} {_namespace()} {os.getpid()} {_started(os.getpid())}"}


def is_dead(owner: str) -> bool:
    """Whether the process that an owner label names is no more.

    False where that cannot be known from here, since it lives in another PID namespace.
    """
    boot, namespace, pid, started = owner.split(" ")
    if boot != _boot():
        return True
    return namespace == _namespace() and _started(int(pid)) != started


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _started(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return fields.rpartition(")")[2].split()[_START_FIELD]
