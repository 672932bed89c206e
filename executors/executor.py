"""An executor: languages and a sandbox, behind which one program runs at a time per slot."""

import asyncio
import re
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from crucible.errors import SandboxUnavailable, SettingsError
from crucible.models import Limits, Observation, Outcome
from crucible.settings import ExecutorSettings
from executors.languages import LANGUAGES, Language
from executors.sandbox.interface import Program, Sandbox, Stage
from executors.sandbox.process.sandbox import ProcessSandbox
from executors.sandbox.process.slot_handle import View

PATH = "/usr/local/bin:/usr/bin:/bin"
_HELLO = b"hello\n"


class Executor:
    """Runs programs in the languages that work here. ``versions`` names them once ``open`` has returned."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self.name = settings.name
        self.versions: dict[str, str] = {}
        self._settings = settings
        self._python = _python(settings)
        self._environment = _environment(settings)
        self._sandbox = _sandbox(settings, self._python)
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

    async def execute(self, run_id: str, language: str, code: str, stdin: str, limits: Limits) -> Observation:
        """Run one program and say what was seen; ``rejected`` for a language that does not work here."""
        if language not in self.versions:
            return Observation(
                outcome=Outcome.REJECTED,
                executor=self.name,
                isolation_level=self.isolation_level,
                detail=f"{self.name} does not run {language!r}; it runs {', '.join(sorted(self.versions))}",
            )
        cap = self._settings.memory_limit_mb
        if cap is not None and cap < limits.memory_mb:
            limits = limits.model_copy(update={"memory_mb": cap})
        program = self._program(LANGUAGES[language], code.encode(), stdin.encode(), limits)
        seen = await self._sandbox.run(program, run_id)
        return seen.model_copy(update={"executor": self.name})

    async def cancel(self, run_id: str) -> bool:
        """End a run under way; false if there is none by that id."""
        return await self._sandbox.cancel(run_id)

    async def close(self) -> None:
        """End everything still running."""
        await self._sandbox.close()

    def _program(self, language: Language, code: bytes, stdin: bytes, limits: Limits) -> Program:
        compiler = None
        if language.compile:
            compiler = Stage(self._located(language.compile), language.compile_limits)
        run = Stage(self._located(language.run), limits)
        return Program(language.source, code, stdin, self._environment, run, compiler)

    def _located(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        if argv[0] == "python3":
            return (self._python, *argv[1:])
        return (shutil.which(argv[0], path=PATH) or argv[0], *argv[1:])

    async def _try(self, language: Language) -> str | None:
        """The version of a language that works here, else null."""
        tool = self._located(language.version)
        if shutil.which(tool[0]) is None:
            return None
        stage = Stage(tool, language.minimum)
        asked = await self._sandbox.run(
            Program("none", b"", b"", self._environment, stage), f"version:{language.name}"
        )
        program = self._program(language, language.hello.encode(), b"", language.minimum)
        seen = await self._sandbox.run(program, f"self-test:{language.name}")
        if seen.outcome is not Outcome.OK or seen.stdout != _HELLO:
            self._log.warning("language_left_out", language=language.name, outcome=seen.outcome.value)
            return None
        found = re.search(rb"\d+(\.\d+)+", asked.stdout)
        return found.group().decode() if found else "unknown"


def _environment(settings: ExecutorSettings) -> Mapping[str, str]:
    """What programs see, and nothing of our own; chosen so that two runs of a program agree."""
    return {
        "PATH": PATH,
        "HOME": "/box",
        "LANG": "C.UTF-8",
        "TZ": settings.tz,
        "PYTHONHASHSEED": settings.pythonhashseed,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
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


def _sandbox(settings: ExecutorSettings, python: str) -> Sandbox:
    if settings.sandbox != "process":
        raise SandboxUnavailable(f"there is no sandbox called {settings.sandbox!r}; there is: process")
    cgroups = True if settings.require_cgroups else None
    return ProcessSandbox(settings.slots, python, _view(python), cgroups=cgroups)


def _view(python: str) -> View:
    """Make the interpreter visible, and hide what is installed beside it: no business of programs'."""
    prefix = Path(python).parents[1]
    folders = () if python.startswith(("/usr/", "/bin/")) else (str(prefix),)
    return View(folders, tuple(str(path) for path in prefix.glob("lib/python3.*/site-packages")))
