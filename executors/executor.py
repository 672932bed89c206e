"""An executor: languages and a sandbox, behind which one program runs at a time per slot."""

import asyncio
import re
import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from crucible.errors import SettingsError
from crucible.models import Limits, Observation, Outcome
from crucible.settings import ExecutorSettings
from executors.compiled import Compiled
from executors.languages import LANGUAGES, Language
from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import PATH, Program, Sandbox, Stage
from executors.sandbox.process.sandbox import ProcessSandbox, View
from executors.sandbox.supervision.files import File

_HELLO = b"hello\n"
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Sums that several threads share out differ in their last digits from run to run."""


class Executor:
    """Runs programs in the languages that work here. ``versions`` names them once ``open`` has returned.

    ``environment`` is what programs see of it, the same for all; ``compiled`` is what it has compiled.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self.name = settings.name
        self.versions: dict[str, str] = {}
        self._settings = settings
        self.environment = _environment(settings)
        self.compiled = Compiled()
        self._sandbox = _sandbox(settings)
        self._log = structlog.get_logger()

    @property
    def isolation_level(self) -> str:
        """What isolates programs here."""
        return self._sandbox.isolation_level

    async def open(self, languages: Collection[str] = tuple(LANGUAGES)) -> None:
        """Prove the isolation and try ``languages``; raises ``SandboxUnavailable``."""
        await self._sandbox.open()
        known = [LANGUAGES[name] for name in languages if name in LANGUAGES]
        for language, version in zip(known, await asyncio.gather(*map(self._try, known)), strict=True):
            if version:
                self.versions[language.name] = version
        self._sandbox.keep_warm()

    async def execute(self, run_id: str, language: str, code: str, stdin: str, limits: Limits) -> Observation:
        """Run one program and say what was seen; ``rejected`` for a language that does not work here."""
        prepared = await self.prepare(run_id, language, code, limits)
        if isinstance(prepared, Observation):
            return prepared
        return await self.run(run_id, prepared, stdin)

    async def prepare(
        self, run_id: str, language: str, code: str, limits: Limits, files: tuple[File, ...] = ()
    ) -> "Prepared | Observation":
        """Compile a program, where its language is compiled, so that it can be run any number of times.

        ``files`` are put beside it. An observation comes back where there is nothing to run: of a
        compiler that failed, and ``rejected`` for a language that does not work here.
        """
        if language not in self.versions:
            return Observation(
                outcome=Outcome.REJECTED,
                executor=self.name,
                isolation_level=self.isolation_level,
                detail=f"{self.name} does not run {language!r}; it runs {', '.join(sorted(self.versions))}",
            )
        return await self._prepare(run_id, LANGUAGES[language], code, limits, files)

    async def run(self, run_id: str, prepared: "Prepared", stdin: str) -> Observation:
        """Run what was prepared once, in surroundings of its own."""
        program = self._program(prepared.language, prepared.files, stdin.encode(), prepared.limits)
        seen = await self._sandbox.run(program, run_id)
        return seen.model_copy(update={"executor": self.name})

    async def cancel(self, run_id: str) -> bool:
        """End a run under way; false if there is none by that id."""
        return await self._sandbox.cancel(run_id)

    async def close(self) -> None:
        """End everything still running."""
        await self._sandbox.close()

    async def _prepare(
        self, run_id: str, language: Language, code: str, limits: Limits, files: tuple[File, ...]
    ) -> "Prepared | Observation":
        cap = self._settings.memory_limit_mb
        if cap is not None and cap < limits.memory_mb:
            limits = limits.model_copy(update={"memory_mb": cap})
        files = (File(language.source, code.encode()), *files)
        if language.compile is None:
            return Prepared(language, files, limits)
        compiler = self._compiler(language, files)
        made = self.compiled.find(compiler)
        if made is None:
            seen, made = await self._sandbox.compile(compiler, run_id)
            if seen.outcome is not Outcome.OK:
                return seen.model_copy(update={"executor": self.name})
            self.compiled.keep(compiler, made)
        return Prepared(language, made, limits)

    def _compiler(self, language: Language, files: tuple[File, ...]) -> Program:
        stage = Stage(self._located(language, language.compile or ()), language.compile_limits)
        environment = {**self.environment, **language.compile_environment}
        return Program(language.family, files, b"", environment, stage)

    def _program(self, language: Language, files: tuple[File, ...], stdin: bytes, limits: Limits) -> Program:
        stage = Stage(self._located(language, language.run), limits)
        return Program(language.family, files, stdin, self.environment, stage)

    def _located(self, language: Language, argv: tuple[str, ...]) -> tuple[str, ...]:
        command, *arguments = argv
        found = command if "/" in command else self._sandbox.locate(language.family, command)
        return (found or command, *arguments)

    async def _try(self, language: Language) -> str | None:
        """The version of a language that works here, else null."""
        if self._sandbox.locate(language.family, language.version[0]) is None:
            return None
        stage = Stage(self._located(language, language.version), language.minimum)
        asked = await self._sandbox.run(
            Program(language.family, (), b"", self.environment, stage), f"version:{language.name}"
        )
        seen = await self._greet(language)
        if seen.outcome is not Outcome.OK or seen.stdout != _HELLO:
            self._log.warning(
                "language_left_out", language=language.name, outcome=seen.outcome.value, detail=seen.detail
            )
            return None
        found = re.search(rb"\d+(\.\d+)+", asked.stdout)
        return found.group().decode() if found else "unknown"

    async def _greet(self, language: Language) -> Observation:
        run_id = f"self-test:{language.name}"
        prepared = await self._prepare(run_id, language, language.hello, language.minimum, ())
        if isinstance(prepared, Observation):
            return prepared
        return await self.run(run_id, prepared, "")


@dataclass(frozen=True)
class Prepared:
    """A program that is ready to be run."""

    language: Language
    files: tuple[File, ...]
    limits: Limits


def _environment(settings: ExecutorSettings) -> Mapping[str, str]:
    """What programs see, and nothing of our own; chosen so that two runs of a program agree."""
    return {
        "PATH": PATH,
        "HOME": "/box",
        "LANG": "C.UTF-8",
        "TZ": settings.tz,
        "PYTHONHASHSEED": settings.pythonhashseed,
        "PERL_HASH_SEED": "0",
        "PERL_PERTURB_KEYS": "0",
        **dict.fromkeys(_THREAD_COUNTS, "1"),
        "SOURCE_DATE_EPOCH": "0",
    }


def _python(settings: ExecutorSettings) -> str:
    """The interpreter of Python programs: the one set, else the one that runs us, outside any venv.

    Not the system's own: that may be older than any program written for Crucible expects.
    """
    chosen = settings.python or Path(sys.base_exec_prefix) / "bin" / "python3"
    if shutil.which(chosen) is None:
        raise SettingsError(f"CRUCIBLE_EXECUTOR_PYTHON={chosen}: that is no program; name an interpreter")
    return str(chosen.resolve())


def _sandbox(settings: ExecutorSettings) -> Sandbox:
    if settings.sandbox == "docker":
        return DockerSandbox(
            settings.slots, settings.name, warm=settings.warm_containers, runtime=settings.docker_runtime
        )
    python = _python(settings)
    cgroups = True if settings.require_cgroups else None
    return ProcessSandbox(settings.slots, python, _view(python), cgroups=cgroups)


def _view(python: str) -> View:
    """Make the interpreter visible, and hide what is installed beside it: no business of programs'."""
    prefix = Path(python).parents[1]
    folders = () if python.startswith(("/usr/", "/bin/")) else (str(prefix),)
    return View(folders, tuple(str(path) for path in prefix.glob("lib/python3.*/site-packages")))
