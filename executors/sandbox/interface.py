"""What every sandbox promises; the contract suite in ``tests/contract`` holds each of them to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from crucible.models import Limits, Observation


@dataclass(frozen=True)
class Stage:
    """One command of a program, with absolute path, and what it may use."""

    argv: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Program:
    """What a sandbox runs: ``code`` is written to ``source`` in the working folder ``/box``.

    ``compile`` comes first where there is one, in the same sandbox; where it fails the program ends
    as ``compile_error`` with the compiler's output. ``stdin`` goes to ``run``, byte for byte.
    """

    source: str
    code: bytes
    stdin: bytes
    environment: Mapping[str, str]
    run: Stage
    compile: Stage | None = None


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
    async def cancel(self, run_id: str) -> bool:
        """End a run under way, which then comes back as ``cancelled``; false if there is none."""

    @abstractmethod
    async def close(self) -> None:
        """End everything still running and leave nothing behind."""
