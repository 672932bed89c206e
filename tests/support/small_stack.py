"""A stack of small real services, and a process that runs it: ``python -m tests.support.small_stack HOW``."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from crucible.errors import CrucibleError
from crucible.settings import Settings, load
from deployments.stack.home import Home, ServiceState, ServiceStatus, StackState
from deployments.stack.plan import Plan
from deployments.stack.running import running_stack, serve_stack
from deployments.stack.servers import valkey_service
from deployments.stack.service import Answers, Prints, ServiceSpec, Tier, choose_ports

PATIENCE_S = 240.0
WORKERS_NICENESS = 7
ROOT = Path(__file__).parent.parent.parent

# It has a child of its own, as a server with helpers has, and ignores SIGTERM when told to.
WORKER = """
import os, signal, subprocess, sys, time
if os.environ.get("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if os.environ.get("DIES"):
    sys.exit("the first line\\nno such table: evaluations")
if not os.environ.get("NEVER_READY"):
    print("CRUCIBLE_READY", flush=True)
time.sleep(600)
"""


def small_plan(_settings: Settings, home: Home) -> Plan:
    """A Valkey, an HTTP server, and a worker that is started after the Valkey."""
    ports = choose_ports({"redis": 0, "web": 0})
    web = f"http://127.0.0.1:{ports['web']}"
    services = (
        valkey_service("redis", home.root / "redis", ports["redis"], "secret"),
        ServiceSpec(
            name="web",
            argv=(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(ports["web"])),
            environment={},
            ready=Answers(web),
            tier=Tier.EXECUTORS,
            url=web,
        ),
        ServiceSpec(
            name="worker",
            argv=(sys.executable, "-c", WORKER),
            environment=dict(os.environ),
            ready=Prints(),
            tier=Tier.WORKERS,
            after=("redis",),
            niceness=WORKERS_NICENESS,
        ),
    )
    return Plan(services, (), _state(services, web))


def _state(services: tuple[ServiceSpec, ...], url: str) -> StackState:
    return StackState(
        pid=os.getpid(),
        started_at=datetime.now(UTC),
        ephemeral=False,
        gateway_url=None,
        api_url=url,
        prefect_url=url,
        prefect_api_url=f"{url}/api",
        flower_url=None,
        redis_url="redis://127.0.0.1:1/0",
        celery_redis_url="redis://127.0.0.1:1/0",
        executor_urls=(url, url, url),
        executor_token="token",
        api_key="key",
        database_url="sqlite+aiosqlite:////nowhere",
        services=tuple(
            ServiceStatus(name=spec.name, state=ServiceState.STARTING, pid=None, url=spec.url)
            for spec in services
        ),
    )


class StackProcess:
    """A process that runs the small stack of a home, and everything that descends from it."""

    def __init__(self, home: Path, how: str = "serve", **environment: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.small_stack", how],
            cwd=ROOT,
            env={**os.environ, "CRUCIBLE_HOME": str(home), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.family: list[psutil.Process] = []

    def wait_until_up(self) -> None:
        """Waits for its "up" and notes who belongs to it."""
        for line in self.process.stdout or ():
            if line.strip() == "up":
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError(f"the stack ended with {self.process.wait()}")

    def ended(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(PATIENCE_S)

    def rest(self) -> str:
        """What it printed, from here to its end."""
        return self.process.communicate(timeout=PATIENCE_S)[0]

    def survivors(self) -> list[psutil.Process]:
        """Those of the family that are still alive after they were given time to go."""
        return psutil.wait_procs(self.family, timeout=PATIENCE_S)[1]

    def clear(self) -> None:
        """Ends whatever a failed test left."""
        # The stack first: it would start its services again.
        self.process.kill()
        self.process.wait()
        for process in self.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.stdout:
            self.process.stdout.close()


async def _run(how: str) -> None:
    settings = load(Settings)
    if how == "serve":
        await serve_stack(settings, lambda _state: print("up", flush=True), make_plan=small_plan)
        return
    async with running_stack(settings, make_plan=small_plan):
        print("up", flush=True)
        if how == "fail":
            raise LookupError("the body failed")
        await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup makes its children ignore it
    try:
        asyncio.run(_run(sys.argv[1]))
    except CrucibleError as error:
        sys.exit(f"{type(error).__name__}: {error}")
