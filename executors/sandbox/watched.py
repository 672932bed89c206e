"""What sandboxes have in common whose programs are watched by ``executors.sandbox.supervision``."""

import time
from abc import abstractmethod

import structlog

from crucible.errors import SandboxUnavailable
from crucible.models import Observation, Outcome
from executors.sandbox import verdict
from executors.sandbox.admission import Admission, Turn
from executors.sandbox.interface import Program, Sandbox
from executors.sandbox.orders import Ran
from executors.sandbox.supervision.files import File
from executors.timings import keep_timing, timed

PROBE_SAYS = b"isolated\n"

_OVERDUE_FACTOR = 6  # a watcher allows up to five times the wall limit on a machine short of CPU
_OVERDUE_S = 30


class WatchedSandbox(Sandbox):
    """Admits programs, as many at once as there are ``slots``, and judges what their watchers report."""

    def __init__(self, slots: int) -> None:
        self._admission = Admission(slots)
        self._log = structlog.get_logger()

    async def run(self, program: Program, run_id: str) -> Observation:
        """See ``Sandbox.run``."""
        ran = await self._admitted(program, run_id, collect=False)
        if isinstance(ran, Observation):
            return ran
        return verdict.observe(ran.report, ran.stdout, ran.stderr, self.isolation_level)

    async def compile(self, program: Program, run_id: str) -> tuple[Observation, tuple[File, ...]]:
        """See ``Sandbox.compile``."""
        ran = await self._admitted(program, run_id, collect=True)
        if isinstance(ran, Observation):
            return ran, ()
        seen = verdict.observe(ran.report, ran.stdout, ran.stderr, self.isolation_level, compiling=True)
        return seen, ran.files

    async def cancel(self, run_id: str) -> bool:
        """See ``Sandbox.cancel``; a run that waits for a slot comes back at once."""
        return self._admission.cancel(run_id)

    @abstractmethod
    async def _carried_out(self, turn: Turn, program: Program, *, collect: bool) -> Ran | Observation:
        """Run a program that holds a slot; an observation where there is nothing to judge."""

    async def _admitted(self, program: Program, run_id: str, *, collect: bool) -> Ran | Observation:
        began_s = time.monotonic()
        async with self._admission.turn(run_id) as turn:
            keep_timing("slot wait", began_s)
            if turn.cancelled:
                return self._cancelled()
            with timed("compile" if collect else "sandbox run", self.isolation_level):
                return await self._carried_out(turn, program, collect=collect)

    async def _probe(self, program: Program) -> None:
        """Run a program that says so only if it finds itself isolated; raises ``SandboxUnavailable``."""
        seen = await self.run(program, "probe")
        if seen.stdout != PROBE_SAYS:
            said = (seen.stderr.decode(errors="replace").strip().splitlines() or [seen.detail or ""])[-1]
            raise SandboxUnavailable(
                f"the sandbox does not isolate: its probe ended as {seen.outcome} ({said})"
            )

    def _cancelled(self) -> Observation:
        return Observation(outcome=Outcome.CANCELLED, isolation_level=self.isolation_level)

    def _sandbox_error(self, detail: str) -> Observation:
        self._log.error("sandbox_error", detail=detail)
        return Observation(outcome=Outcome.SANDBOX_ERROR, isolation_level=self.isolation_level, detail=detail)


def overdue_s(program: Program) -> float:
    """Seconds after which a watcher that says nothing is taken for lost."""
    return _OVERDUE_S + _OVERDUE_FACTOR * program.stage.limits.wall_s
