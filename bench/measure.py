"""The corpus, the contenders, and what one of them takes over it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

from bench.child import Child
from bench.contenders.chord_app import environment_of as chord_environment
from bench.figures import ContenderName, Measured, machine_cpu_s, usage_of
from crucible.corpus import to_line
from crucible.errors import PlatformError
from crucible.models import Classification, Comparison, Evaluation, Observation
from crucible.models.comparison import Outcome
from crucible.settings import Settings
from deployments.stack import Home, StackState, prefect_client_environment, running_stack
from deployments.stack.plan import MakePlan, plan_passing_stack
from executors.client import ExecutorClient

_PROGRAMS = Path(__file__).parent / "programs"


def algorithms() -> list[str]:
    """Small algorithms with assertions, in the manner of HumanEval's solutions; each of them once."""
    return [path.read_text() for path in sorted(_PROGRAMS.glob("*.py"))]


def nothing() -> list[str]:
    """One program that does nothing, so that what is measured is all that is around it."""
    return [""]


def write_corpus(path: Path, programs: Sequence[str], size: int) -> None:
    """Write ``size`` evaluations, taking ``programs`` by turns; each is expected to end well."""
    path.write_text("".join(f"{to_line(each)}\n" for each in _evaluations(programs, size)))


def settled(evaluation_id: str, name: str, language: str, kind: Classification, **more: Any) -> Comparison:
    """A comparison to fill stores with, of two legs that saw the same; ``more`` are other fields of it."""
    seen = Observation(
        outcome=Outcome.OK, exit_code=0, stdout_b64="MQo=", duration_s=0.02, executor="executor-1"
    )
    return Comparison(
        evaluation_id=evaluation_id,
        name=name,
        language=language,
        classification=kind,
        legacy=seen,
        celery=seen,
        **more,
    )


def _evaluations(programs: Sequence[str], size: int) -> Iterator[Evaluation]:
    for number, code in enumerate(islice(cycle(programs), size)):
        yield Evaluation.model_validate(
            {"id": f"bench-{number}", "language": "python", "code": code, "expect": {"outcome": Outcome.OK}}
        )


CLIENT = "client"
_LOOK_EVERY_S = 0.25
_SETTLE_S = 2.5
"""Servers write some things later, Prefect within a second; what that costs belongs to the run."""


@dataclass(frozen=True)
class Contender:
    """One who runs corpora: the process that takes orders, and those that work for it, by name."""

    name: ContenderName
    client: Child
    helpers: Mapping[str, int] = field(default_factory=dict)
    order: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> dict[str, int]:
        """The process trees whose cost is this contender's."""
        return {**self.helpers, CLIENT: self.client.pid}


async def measure(contender: Contender, folder: Path, programs: Sequence[str], evaluations: int) -> Measured:
    """Have ``contender`` run so many ``evaluations`` of ``programs``, from a corpus in ``folder``.

    Raises ``PlatformError`` when not every evaluation matched: who does less work is no contender.
    """
    corpus = folder / "corpus.jsonl"
    write_corpus(corpus, programs, evaluations)
    before, machine_before = usage_of(contender.roots), machine_cpu_s()
    async with _memory_watched(contender.roots) as peaks:
        answer = await contender.client.ask({**contender.order, "corpus": str(corpus)})
    await asyncio.sleep(_SETTLE_S)
    after, machine_after = usage_of(contender.roots), machine_cpu_s()
    if answer.get("matched", evaluations) != evaluations:
        raise PlatformError(
            f"{contender.name}: {answer['matched']} of {evaluations} evaluations matched; all must"
        )
    return Measured(
        contender=contender.name,
        evaluations=evaluations,
        seconds=answer["seconds"],
        cpu_s={name: after[name].cpu_s - before[name].cpu_s for name in after},
        programs_cpu_s=answer["programs_cpu_s"],
        machine_cpu_s=machine_after - machine_before,
        peak_mb=peaks.total_mb,
        client_peak_mb=peaks.client_mb,
    )


@dataclass
class _Peaks:
    total_mb: float = 0.0
    client_mb: float = 0.0

    def look(self, roots: Mapping[str, int]) -> None:
        usage = usage_of(roots)
        self.total_mb = max(self.total_mb, sum(each.resident_mb for each in usage.values()))
        self.client_mb = max(self.client_mb, usage[CLIENT].resident_mb)


@asynccontextmanager
async def _memory_watched(roots: Mapping[str, int]) -> AsyncIterator[_Peaks]:
    peaks = _Peaks()

    async def watch() -> None:
        while True:
            peaks.look(roots)
            await asyncio.sleep(_LOOK_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


_CHORD_DATABASE = 7
_USED_BY_CHORD = ("celery-redis", "executor-1", "executor-2", "executor-3")
_ASK_S = 5.0


class Lineup:
    """The stack, and a folder for what contenders leave: corpora and logs."""

    def __init__(self, state: StackState, folder: Path) -> None:
        self.state, self.folder = state, folder
        self._services = {each.name: each.pid for each in state.services if each.pid is not None}

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Contender]:
        """Nobody: the interpreter and a loop around it."""
        async with self._child("bench.contenders.bare") as client:
            yield Contender("bare", client)

    @asynccontextmanager
    async def chord(self) -> AsyncIterator[Contender]:
        """The Celery chord, with messages and results in a database of their own on Celery's Redis."""
        url = urlsplit(self.state.celery_redis_url)._replace(path=f"/{_CHORD_DATABASE}").geturl()
        environment = chord_environment(url, self.state.executor_urls, self.state.executor_token)
        helpers = {name: self._service(name) for name in _USED_BY_CHORD}
        async with (
            self._child("bench.contenders.chord_app", environment) as worker,
            self._child("bench.contenders.chord", environment) as client,
        ):
            yield Contender("chord", client, {**helpers, "chord-worker": worker.pid})

    @asynccontextmanager
    async def sweep(self) -> AsyncIterator[Contender]:
        """Crucible: a fresh process that sweeps, and every process of the stack."""
        state = self.state
        environment = {
            **prefect_client_environment(self.folder, state.prefect_api_url),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "BENCH_DATABASE_URL": state.database_url,
            "BENCH_REDIS_URL": state.redis_url,
            "BENCH_CELERY_REDIS_URL": state.celery_redis_url,
        }
        languages = await asyncio.to_thread(self._first_executor().languages)
        async with self._child("bench.contenders.sweep", environment) as client:
            yield Contender("sweep", client, self._services, {"languages": languages})

    def caller(self) -> AbstractAsyncContextManager[Child]:
        """Somebody with the key of the stack's API."""
        environment = {"BENCH_API_URL": self.state.api_url, "BENCH_API_KEY": self.state.api_key}
        return self._child("bench.contenders.caller", environment)

    async def isolation_level(self) -> str:
        """How programs are isolated here."""
        return str((await asyncio.to_thread(self._first_executor().health))["isolation_level"])

    def _first_executor(self) -> ExecutorClient:
        return ExecutorClient([self.state.executor_urls[0]], self.state.executor_token, _ASK_S, 1)

    def _service(self, name: str) -> int:
        if name not in self._services:
            raise PlatformError(
                f"{name} is not a process of this stack; unset the setting that names another"
            )
        return self._services[name]

    @asynccontextmanager
    async def _child(self, module: str, environment: dict[str, str] | None = None) -> AsyncIterator[Child]:
        child = Child(module, environment or {}, self.folder / f"{module.rpartition('.')[2]}.log")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(child.close)
            await child.start()
            yield child


@asynccontextmanager
async def lineup_of_its_own(
    settings: Settings,
    prepare: Callable[[Home], Awaitable[None]] | None = None,
    make_plan: MakePlan = plan_passing_stack,
) -> AsyncIterator[Lineup]:
    """Contenders on a stack in a new folder, which is removed afterwards.

    ``prepare`` is called with the stack's home before it starts. After a fault of the platform the folder
    stays, for the logs in it; the ``PlatformError`` says where.
    """
    folder = Path(mkdtemp(prefix="crucible-bench-"))
    home = Home.at(folder / "home")
    try:
        if prepare is not None:
            home.create()
            await prepare(home)
        async with running_stack(
            settings.model_copy(update={"home": home.root}), make_plan=make_plan
        ) as state:
            yield Lineup(state, folder)
    except PlatformError as error:
        raise PlatformError(f"{error} (logs are in {folder})") from error
    except BaseException:
        rmtree(folder)
        raise
    rmtree(folder)
