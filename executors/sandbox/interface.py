"""What every sandbox promises; the contract suite in ``tests/contract`` holds each of them to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from crucible.errors import InputError
from crucible.models import Limits, Observation
from executors.sandbox.supervision.files import File

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where programs, and sandboxes for them, look for commands."""


@dataclass(frozen=True)
class Stage:
    """One command of a program, with absolute path, and what it may use."""

    argv: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Program:
    """What a sandbox runs: ``files`` are written to the working folder ``/box``, then comes ``stage``.

    ``family`` names the toolchain that has to be in sight. ``stdin`` arrives byte for byte. The paths of
    files are relative and lead nowhere else: see ``executors.sandbox.interface``.
    """

    family: str
    files: tuple[File, ...]
    stdin: bytes
    environment: Mapping[str, str]
    stage: Stage


class Sandbox(ABC):
    """Runs programs that nobody trusts, each in surroundings of its own that are used once.

    Guarantees: no network; nothing of the host readable but a read-only system; nothing left of a
    program when ``run`` returns, neither process nor file; streams byte for byte up to their limit;
    the outcome from wait status and kernel counters alone.
    """

    isolation_level: str
    """What isolates, as every observation states it; known once ``open`` has returned."""

    @abstractmethod
    async def open(self) -> None:
        """Prepare, and prove by doing that programs are isolated here.

        Raises ``SandboxUnavailable`` with the reason and remedy, and then runs nothing: the
        machine's or the operator's fault.
        """

    @abstractmethod
    async def run(self, program: Program, run_id: str) -> Observation:
        """Run one program to its end; waits while all slots are taken.

        A fault of the platform comes back as ``sandbox_error`` with ``detail``, never as the program's
        outcome. ``run_id`` is unique among the runs under way.
        """

    @abstractmethod
    async def compile(self, program: Program, run_id: str) -> tuple[Observation, tuple[File, ...]]:
        """Run a compiler as ``run`` does; with exit code 0 also all regular files that ``/box`` then holds.

        A compiler that fails otherwise than at a limit comes back as ``compile_error``.
        """

    @abstractmethod
    def locate(self, family: str, command: str) -> str | None:
        """The absolute path of ``command`` as programs of ``family`` see it; null where there is none."""

    @abstractmethod
    async def cancel(self, run_id: str) -> bool:
        """End a run under way, which then comes back as ``cancelled``; false if there is none."""

    def keep_warm(self) -> None:  # noqa: B027 (a sandbox may have nothing that gets cold)
        """Have surroundings ready before programs come, from now on. Called once, after ``open``."""

    @abstractmethod
    async def close(self) -> None:
        """End everything still running and leave nothing behind."""


_LONGEST = 200


def checked(path: str) -> str:
    """``path``, if it names a file within the working folder; raises ``InputError`` with what is wrong.

    Allowed is a relative path of plain names: none is empty, ``.`` or ``..``, none holds a NUL or another
    control character, and the whole has at most 200 bytes of UTF-8.
    """
    parts = path.split("/")
    if not path or len(path.encode(errors="replace")) > _LONGEST:
        raise InputError(f"file name {path[:60]!r}: must have 1 to {_LONGEST} bytes")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise InputError(f"file name {path!r}: must be relative and stay within its folder")
    if not path.isprintable():
        raise InputError(f"file name {path!r}: holds a control character")
    return path
