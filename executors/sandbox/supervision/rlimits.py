"""Resource limits: those that are the same for all programs, and those of one stage."""

import resource

from executors.sandbox.supervision.files import Stage

OWN_PROCESSES = 2
"""Watchers, which the kernel counts with the program's own: a slot and a cell."""

_MORE_THAN_THE_GROUP = 64
_OPEN_FILES = 256
_STACK_BYTES = 8 << 20
_LOCKED_BYTES = 64 << 10
_UNPIPED_CORE = 1
"""No core file is that small, and the kernel hands none to a crash handler of the host either, which it
does with a limit of zero."""

_SAME_FOR_ALL = {
    resource.RLIMIT_NOFILE: _OPEN_FILES,
    resource.RLIMIT_STACK: _STACK_BYTES,
    resource.RLIMIT_MEMLOCK: _LOCKED_BYTES,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_CORE: _UNPIPED_CORE,
}


class ResourceLimits:
    """The limits of one watcher. Where the service's own hard limits are lower, those hold."""

    def __init__(self) -> None:
        """Set what is the same for all programs, for this process too."""
        for kind, value in _SAME_FOR_ALL.items():
            lower = _at_most(value, resource.getrlimit(kind)[1])
            resource.setrlimit(kind, (lower, lower))
        self._hard = {
            kind: resource.getrlimit(kind)[1]
            for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC)
        }

    def apply(self, stage: Stage, *, counted: bool) -> None:
        """Set the limits of one stage, for good. That on processes is by user: each program has its own.

        Where processes are ``counted`` by a control group that one is to refuse first, as it tells.
        """
        processes = stage.processes + OWN_PROCESSES + (_MORE_THAN_THE_GROUP if counted else 0)
        # Whole seconds, and more than the limit, so that our own exact measure comes first.
        self._set(resource.RLIMIT_CPU, int(stage.cpu_s) + 2)
        self._set(resource.RLIMIT_FSIZE, stage.disk_bytes)
        self._set(resource.RLIMIT_NPROC, processes)

    def _set(self, kind: int, value: int) -> None:
        value = _at_most(value, self._hard[kind])
        resource.setrlimit(kind, (value, value))


def _at_most(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
