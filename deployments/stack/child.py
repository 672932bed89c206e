"""One process of the stack, from its start until nothing of it is left."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from contextlib import suppress
from pathlib import Path

from deployments.stack import guardian, launch
from deployments.stack.service import ServiceSpec

_LOOK_EVERY_S = 0.1
_LAST_LINES = 3
_LAST_CHARACTERS = 400
_LAST_BYTES = 8192


class Guard:
    """A process that kills the groups it was told of, should this process end without having done so."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        """From now on ``group`` must not outlive this process."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Nothing is left of ``group``; its number may become somebody else's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guardian, and with it the groups it still watches."""
        self._process.communicate()

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        # Should someone kill the guardian, the services themselves still end with this process.
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.write(line.encode())
                pipe.flush()


class Child:
    """A running service.

    It leads a session of its own, so a terminal's Ctrl-C does not reach it, and when this process ends in
    whatever way the kernel kills it, and the guardian what it has started.
    """

    def __init__(self, spec: ServiceSpec, process: Process, log: Path, log_start: int, guard: Guard) -> None:
        self._spec, self._process, self._guard = spec, process, guard
        self._log, self._log_start = log, log_start
        self._is_over = False

    @classmethod
    async def spawn(cls, spec: ServiceSpec, log: Path, guard: Guard) -> "Child":
        """Starts the service; what it prints is appended to ``log``."""
        with log.open("ab") as output:
            start = output.tell()
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-I",
                    "-S",
                    launch.__file__,
                    str(os.getpid()),
                    str(spec.niceness),
                    *spec.argv,
                ),
                env=spec.environment,
                cwd=spec.folder,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        guard.watch(process.pid)
        return cls(spec, process, log, start, guard)

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._process.pid

    async def becomes_ready(self) -> bool:
        """Waits until it is ready (true) or has ended (false)."""
        while self._process.returncode is None:
            if await self._spec.ready.holds(self._log, self._log_start):
                return True
            await asyncio.sleep(_LOOK_EVERY_S)
        return False

    async def ended(self) -> None:
        """Waits for its end, and ends what it left behind."""
        await self._process.wait()
        self._bury()

    async def stop(self, grace_s: float) -> None:
        """Asks it to end; kills it and all it started when it has not after ``grace_s`` seconds."""
        if self._is_over:
            return
        if self._process.returncode is None:
            # The process alone: what an executor runs must not be killed before the executor knows.
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self._kill_group()
        await self.ended()

    def epitaph(self) -> str:
        """How it ended and what it said last, in one line."""
        code = self._process.returncode
        if code is None:
            how = "is still running"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return f"{self._spec.name} {how}: {self._last_words()} (log: {self._log})"

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = [" ".join(line.split()) for line in log.read().decode(errors="replace").splitlines()]
        last = " | ".join([line for line in lines if line][-_LAST_LINES:])
        return last[-_LAST_CHARACTERS:] or "it printed nothing"

    def _bury(self) -> None:
        # Once only: later the number may be that of somebody else's group.
        if not self._is_over:
            self._kill_group()
            self._guard.forget(self.pid)
            self._is_over = True

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
