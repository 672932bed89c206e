"""``python -m executors.overhead.endurance SANDBOX RUNS``: many runs, and what is left of them.

Prints one JSON document: outcomes, runs a second, and what this process and its sandbox held before and
after. Both times the sandbox is at rest and has been warmed up.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from crucible.errors import CrucibleError
from crucible.logging import configure_logging
from crucible.models import Limits, Outcome
from executors.overhead.contenders import PYTHON
from executors.sandbox.docker.containers import connected
from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import Program, Sandbox, Stage
from executors.sandbox.process.sandbox import ProcessSandbox, View
from executors.sandbox.supervision.files import File

_WARM_UP = 100
_ENDED_STATES = {"Z", "X"}
_PLATFORM_FAULT = 4


def main() -> int:
    """Exit 0, or 4 with one line on standard error."""
    configure_logging("stderr")
    sandbox, runs = _sandbox(sys.argv[1]), int(sys.argv[2])
    try:
        found = asyncio.run(_endured(sandbox, runs))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _PLATFORM_FAULT
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _sandbox(name: str) -> Sandbox:
    slots = os.cpu_count() or 1
    if name == "docker":
        return DockerSandbox(slots, "endurance", warm=2 * slots)
    return ProcessSandbox(slots, PYTHON, View())


async def _endured(sandbox: Sandbox, runs: int) -> dict[str, object]:
    await sandbox.open()
    try:
        sandbox.keep_warm()
        await _run_all(sandbox, _WARM_UP)
        before = await _held(sandbox)
        began = time.monotonic()
        outcomes = await _run_all(sandbox, runs)
        took = time.monotonic() - began
        after = await _held(sandbox)
    finally:
        await sandbox.close()
    return {"runs": runs, "per_second": runs / took, "outcomes": outcomes, "before": before, "after": after}


async def _run_all(sandbox: Sandbox, runs: int) -> Counter[str]:
    """How many runs ended how; ``wrong`` where a program's own words did not come back."""
    outcomes: Counter[str] = Counter()
    numbers = iter(range(runs))

    async def work() -> None:
        for number in numbers:
            files = (File("main.py", f"print({number})".encode()),)
            stage = Stage((PYTHON, "-I", "-S", "/box/main.py"), Limits())
            seen = await sandbox.run(Program("script", files, b"", {}, stage), str(number))
            right = seen.outcome is not Outcome.OK or seen.stdout == b"%d\n" % number
            outcomes[seen.outcome if right else "wrong"] += 1

    await asyncio.gather(*(work() for _ in range(os.cpu_count() or 1)))
    return outcomes


async def _held(sandbox: Sandbox) -> dict[str, int]:
    if isinstance(sandbox, DockerSandbox):
        await sandbox.warmed()
    return await asyncio.to_thread(_counted, docker=isinstance(sandbox, DockerSandbox))


def _counted(*, docker: bool) -> dict[str, int]:
    states = _states()
    held = {
        "memory_kib": _memory_kib(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": len(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()),
        "zombies": sum(state in _ENDED_STATES for state in states.values()),
        "processes": len(states),
        "control_groups": sum(1 for _ in Path("/sys/fs/cgroup").rglob("cgroup.procs")),
    }
    if docker:
        client = connected()
        held["containers"] = len(client.api.containers(all=True))
        client.close()
    return held


def _states() -> dict[str, str]:
    """The state of each process on this machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            found[folder.name] = text.rpartition(")")[2].split()[0]
    return found


def _memory_kib() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
