"""A sweep as its own process, as people start it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.stack import ROOT, Stack

_WORDS = (sys.executable, "-c", "from cli.main import main; main()", "sweep")
_SAID = 1500
EXITS = {0: "pass", 1: "fail", 2: "bad input", 3: "inconclusive", 4: "platform fault", 130: "cancelled"}


class Sweep:
    """``crucible sweep CORPUS --json`` on a stack. ``started`` makes one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ended = asyncio.ensure_future(process.communicate())

    @classmethod
    async def started(cls, stack: Stack, corpus: Path) -> "Sweep":
        """One that runs."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(*_WORDS, str(corpus), "--json"),
                cwd=ROOT,
                env=stack.environment(),
                stdout=PIPE,
                stderr=PIPE,
            )
        )

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to strike."""
        return self._ended.done()

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    async def ends(self, within_s: float) -> bool:
        """Waits for its end."""
        return bool((await asyncio.wait({self._ended}, timeout=within_s))[0])

    async def close(self) -> None:
        """Ends it, if it has not ended."""
        if not self.has_ended:
            self.kill()
        await self._ended

    @property
    def how(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code == 1 and self.document is None:
            return "crashed"
        return EXITS.get(code, signal.Signals(-code).name if code < 0 else f"exit {code}")

    @property
    def document(self) -> dict[str, Any] | None:
        """What it printed for machines, if it came to that."""
        if not self.has_ended or self._process.returncode not in {0, 1, 3}:
            return None
        try:
            found: dict[str, Any] = json.loads(self._printed[1])
        except json.JSONDecodeError:
            return None
        return found

    @property
    def said(self) -> str:
        """The end of what it wrote for people."""
        return self._ended.result()[1].decode(errors="replace")[-_SAID:] if self.has_ended else ""

    @property
    def printed_besides(self) -> str:
        """What was on its standard output before the document, where only that belongs."""
        return self._printed[0] if self.document is not None else ""

    @property
    def _printed(self) -> tuple[str, str]:
        lines = self._ended.result()[0].decode(errors="replace").splitlines(keepends=True)
        first = next((place for place, line in enumerate(lines) if line.startswith("{")), len(lines))
        return "".join(lines[:first]), "".join(lines[first:])
