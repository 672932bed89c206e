"""Ways to run one program that prints ``1``, from no isolation at all to a container made for it."""

import asyncio
import shutil
import subprocess
import uuid
from abc import ABC, abstractmethod

from crucible.errors import PlatformError
from crucible.models import Limits, Outcome
from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import Program, Sandbox, Stage
from executors.sandbox.process.sandbox import ProcessSandbox, View

PYTHON = "/usr/bin/python3"
_ARGUMENTS = ("-I", "-S", "-c", "print(1)")
_PRINTED = b"1\n"


class Contender(ABC):
    """One way. ``at_once`` is how many programs saturate the machine by it."""

    def __init__(self, name: str, at_once: int) -> None:
        self.name = name
        self.at_once = at_once

    async def open(self) -> None:  # noqa: B027 (most have nothing to prepare)
        """Prepare what is prepared before programs come."""

    async def rest(self) -> None:  # noqa: B027 (most keep nothing ready)
        """Return when the next program finds everything that is kept ready for it."""

    @abstractmethod
    async def run(self) -> None:
        """Run the program once; raises ``PlatformError`` unless it has printed what it should."""

    async def close(self) -> None:  # noqa: B027 (most leave nothing)
        """Leave nothing behind."""


class Command(Contender):
    """The program by a command line, its output in a pipe."""

    def __init__(self, name: str, at_once: int, *words: str) -> None:
        super().__init__(name, at_once)
        self._words = (*words, *_ARGUMENTS)

    async def run(self) -> None:
        """See ``Contender.run``."""
        await _printed(*self._words)


class InSandbox(Contender):
    """The program by a sandbox of ours."""

    def __init__(self, name: str, at_once: int, sandbox: Sandbox) -> None:
        super().__init__(name, at_once)
        self._sandbox = sandbox
        stage = Stage((PYTHON, *_ARGUMENTS), Limits())
        self._program = Program("script", (), b"", {"PATH": "/usr/bin"}, stage)

    async def open(self) -> None:
        """See ``Contender.open``."""
        await self._sandbox.open()
        self._sandbox.keep_warm()

    async def rest(self) -> None:
        """See ``Contender.rest``."""
        if isinstance(self._sandbox, DockerSandbox):
            await self._sandbox.warmed()

    async def run(self) -> None:
        """See ``Contender.run``."""
        seen = await self._sandbox.run(self._program, str(uuid.uuid4()))
        if (seen.outcome, seen.stdout) != (Outcome.OK, _PRINTED):
            raise PlatformError(f"{self.name}: the program ended as {seen.outcome}: {seen.detail}")

    async def close(self) -> None:
        """See ``Contender.close``."""
        await self._sandbox.close()


class DockerExec(Contender):
    """``docker exec`` into one container that stays: no isolation of one program from the next."""

    def __init__(self, image: str) -> None:
        super().__init__("docker exec into a warm container", 2)
        self._image = image
        self._name = f"crucible-bench-{uuid.uuid4()}"

    async def open(self) -> None:
        """See ``Contender.open``."""
        started = ("run", "--detach", "--init", "--network", "none", "--name", self._name)
        await _said("docker", *started, "--entrypoint", "/usr/bin/sleep", self._image, "infinity")

    async def run(self) -> None:
        """See ``Contender.run``."""
        await _printed("docker", "exec", self._name, PYTHON, *_ARGUMENTS)

    async def close(self) -> None:
        """See ``Contender.close``."""
        await _said("docker", "rm", "--force", self._name)


def bare(cpus: int) -> Contender:
    """The interpreter alone."""
    return Command("bare", cpus, PYTHON)


def process(cpus: int) -> Contender:
    """The process sandbox."""
    return InSandbox("process sandbox", cpus, ProcessSandbox(cpus, PYTHON, View()))


def prewarmed(cpus: int) -> Contender:
    """The Docker sandbox."""
    return InSandbox("prewarmed Docker", cpus, DockerSandbox(cpus, "bench", warm=cpus))


def cold(image: str) -> Contender:
    """A container by ``docker run``."""
    run = ("docker", "run", "--rm", "--network", "none", "--entrypoint", PYTHON)
    return Command("cold docker run", 2, *run, image)


def has_docker_command() -> bool:
    """Whether ``docker`` can be called."""
    return shutil.which("docker") is not None


async def _printed(*words: str) -> None:
    if await _said(*words) != _PRINTED:
        raise PlatformError(f"{' '.join(words)}: printed something else than 1")


async def _said(*words: str) -> bytes:
    # Quicker than asyncio's own way: what is bare must not be slower than it could be.
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False)
    if done.returncode:
        raise PlatformError(f"{' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
