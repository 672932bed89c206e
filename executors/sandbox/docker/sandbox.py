"""The Docker sandbox: one program, one container, started before the program came."""

import asyncio
import os

import docker

from crucible.errors import SandboxUnavailable
from crucible.models import Limits, Observation
from executors.sandbox import orders, verdict
from executors.sandbox.admission import Turn
from executors.sandbox.docker import images, owner
from executors.sandbox.docker.containers import FAULTS, Container, Containers, Kind, connected, unreachable
from executors.sandbox.docker.pool import Pool
from executors.sandbox.interface import Program, Stage
from executors.sandbox.orders import Ran
from executors.sandbox.supervision.files import File
from executors.sandbox.supervision.seccomp import DENIED
from executors.sandbox.supervision.supervisor import KERNEL_BYTES
from executors.sandbox.watched import WatchedSandbox, overdue_s

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


RUNC, RUNSC = "containers+cgroups+seccomp", "gvisor+cgroups+seccomp"

_MIB = 1 << 20
_STEP = 4 * _MIB
_LAUNCHER_PROCESSES = 1
_COPIES = 3  # of files and input that a launcher and its file system hold
_FIRST_USER, _USERS_EACH = 1_000_000_000, 256  # above every range that user-management tools hand out
_ONLY_ORDER = 1


class DockerSandbox(WatchedSandbox):
    """Programs in containers of the local Docker daemon, at most ``slots`` at once.

    ``name`` tells whose containers they are; ``warm`` of each kind used lately wait for programs.
    ``runtime`` names one of the daemon's; null: gVisor's ``runsc`` where the daemon has it, else its default.
    """

    def __init__(self, slots: int, name: str, *, warm: int, runtime: str | None = None) -> None:
        super().__init__(slots)
        self._name = name
        self._warm = warm
        self._runtime = runtime
        self._client: docker.DockerClient
        self._containers: Containers
        self._pool: Pool | None = None
        self._images: dict[str, str] = {}
        self.isolation_level = RUNC

    async def open(self) -> None:
        """See ``Sandbox.open``; removes containers of dead executors of this name first."""
        try:
            await asyncio.to_thread(self._connect)
            for container in await self._containers.labelled(f"{owner.NAME_LABEL}={self._name}"):
                if owner.is_dead(container["Labels"][owner.OWNER_LABEL]):
                    await self._containers.remove_by_id(container["Id"])
        except FAULTS as error:
            raise unreachable(error) from error
        if not self._images:
            raise SandboxUnavailable("no image is built from what is installed; run `crucible images build`")
        family = "script" if "script" in self._images else next(iter(self._images))
        stage = Stage(("/usr/bin/python3", "-I", "-S", "/box/probe.py"), Limits())
        await self._probe(Program(family, (File("probe.py", PROBE.encode()),), b"", {}, stage))

    def keep_warm(self) -> None:
        """See ``Sandbox.keep_warm``."""
        if self._pool is not None:
            script = self._images.get("script")
            self._pool.keep_warm(Kind(script, Limits().disk_mb) if script else None)

    async def warmed(self) -> None:
        """Wait until every container that is to be kept warm is there."""
        if self._pool is not None:
            await self._pool.refilled()

    def locate(self, family: str, command: str) -> str | None:
        """See ``Sandbox.locate``; Debian, of which all images are made, has its commands in one place."""
        return f"/usr/bin/{command}" if family in self._images else None

    async def close(self) -> None:
        """See ``Sandbox.close``."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        for run_id in self._admission.present:
            self._admission.cancel(run_id)
        await self._admission.emptied()
        await pool.close()
        await asyncio.to_thread(self._client.close)

    def _connect(self) -> None:
        self._client = connected()
        info = self._client.info()
        if self._runtime is None and "runsc" in info["Runtimes"]:
            self._runtime = "runsc"
        if self._runtime == "runsc":
            self.isolation_level = RUNSC
        self._images = {image.family: image.id for image in images.listed(self._client) if image.id}
        first_user = _FIRST_USER + os.getpid() * _USERS_EACH
        self._containers = Containers(self._client, owner.labels(self._name), first_user, self._runtime)
        self._pool = Pool(self._containers, self._warm, self._prepare)

    async def _prepare(self, container: Container) -> None:
        limits = Limits()
        await self._containers.limit(container, _memory_bytes(container, limits, 0), _processes(limits))

    async def _carried_out(self, turn: Turn, program: Program, *, collect: bool) -> Ran | Observation:
        pool = self._pool
        image = self._images.get(program.family)
        if pool is None or image is None:
            return self._sandbox_error(
                f"there is no image for {program.family}" if pool else "the sandbox is being closed"
            )
        payload = sum(len(file.content) for file in program.files)
        try:
            container = await pool.take(Kind(image, program.stage.limits.disk_mb + payload // _MIB))
        except FAULTS as error:
            return self._sandbox_error(f"no container could be started: {error}")
        return await self._used(pool, container, turn, program, collect=collect)

    async def _used(
        self, pool: Pool, container: Container, turn: Turn, program: Program, *, collect: bool
    ) -> Ran | Observation:
        """Run the program in ``container``, which is removed in any case."""
        try:
            ran = await self._ran(container, turn, program, collect=collect)
        except asyncio.CancelledError:
            # Its program must not outlive the one who asked for it.
            await asyncio.shield(self._containers.remove(container))
            raise
        pool.discard(container)
        return ran

    async def _ran(
        self, container: Container, turn: Turn, program: Program, *, collect: bool
    ) -> Ran | Observation:
        try:
            await self._limit(container, program)
            if turn.cancelled:
                return self._cancelled()
            turn.end = container.launcher.cancel
            async with asyncio.timeout(overdue_s(program)):
                container.launcher.send(*orders.frame(_ONLY_ORDER, program, collect=collect))
                header, blobs = await container.launcher.receive()
        except FAULTS as error:
            return await self._lost(container, error)
        if "error" in header:
            return self._sandbox_error(header["error"])
        return orders.read(header, blobs)

    async def _limit(self, container: Container, program: Program) -> None:
        payload = len(program.stdin) + sum(len(file.content) for file in program.files)
        limits = program.stage.limits
        wanted = _memory_bytes(container, limits, payload), _processes(limits)
        if wanted != (container.memory_bytes, container.processes):
            await self._containers.limit(container, *wanted)

    async def _lost(self, container: Container, error: Exception) -> Observation:
        try:
            if await self._containers.was_out_of_memory(container):
                return verdict.out_of_memory(self.isolation_level)
        except FAULTS as fault:
            error = fault
        return self._sandbox_error(f"the container was lost: {error or 'its program is overdue'}")


def _memory_bytes(container: Container, limits: Limits, payload: int) -> int:
    """The container's limit that leaves the program its own: what the launcher needs comes on top."""
    own = container.used_bytes + KERNEL_BYTES + _COPIES * payload + 2 * (limits.output_kb << 10)
    return (limits.memory_mb << 20) + -(-own // _STEP) * _STEP  # in steps, so that few need be set anew


def _processes(limits: Limits) -> int:
    return limits.processes + _LAUNCHER_PROCESSES
