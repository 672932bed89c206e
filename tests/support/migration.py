"""Somebody with the runbook at a real stack: they type its commands, and users send traffic meanwhile."""

import os
import shlex
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from string import Template
from typing import Any

import httpx

from crucible.store import sqlite_url
from tests.support.command_line import ROOT, CommandLine, Running
from tests.support.runbook import expected_exit
from tests.support.stacks import stack_up

Program = tuple[str, str]
"""A language and a program in it."""

_KEY = "key-of-the-tests"
_SHELL = "/bin/bash"
_WITHIN_S = 240
_LOOKS = ("crucible breakers", "crucible dlq list")
_LOOK_EVERY_S = 0.1
_AGREEING: tuple[Program, ...] = (("python", "print('alike')"), ("bash", "echo alike"))


class Migration:
    """A stack that is up, with its users."""

    def __init__(self, line: CommandLine, environment: Mapping[str, str]) -> None:
        self._line = line
        self._environment = dict(environment)
        self._tried: set[str] = set()
        self._http = httpx.Client(
            base_url=environment["CRUCIBLE_API_URL"],
            headers={"Authorization": f"Bearer {_KEY}"},
            timeout=_WITHIN_S,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections; the stack stays."""
        self._http.close()

    def rollout(self) -> Any:
        """Where the migration stands."""
        return self._http.get("/rollout").raise_for_status().json()

    def put(self, **changes: object) -> None:
        """Set the rollout to what a drill needs, whatever the gates say."""
        wish = {"action": "set", "force": True, "reason": "for a drill", **changes}
        self._http.put("/rollout", json=wish).raise_for_status()

    def send(self, number: int, *programs: Program, wait_s: int = _WITHIN_S) -> list[str]:
        """Ids of so many evaluations, each of a tenant of its own; settled when they were waited for."""
        chosen = programs or _AGREEING
        many = [
            {"language": language, "code": code, "tenant": f"tenant-{n}"}
            for n, (language, code) in enumerate((chosen * number)[:number])
        ]
        answer = self._http.post(f"/evaluations?wait={wait_s}", json=many).raise_for_status()
        return [each["id"] for each in answer.json()]

    def evaluation(self, evaluation_id: str) -> Any:
        """What the API says of an evaluation."""
        return self._http.get(f"/evaluations/{evaluation_id}").raise_for_status().json()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once ``condition`` holds; fails after two minutes."""
        deadline = time.monotonic() + _WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {_WITHIN_S} s: {what}"
            time.sleep(_LOOK_EVERY_S)

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """A service that hangs: it neither ends nor goes on."""
        with self._line.frozen(service):
            yield

    def type(self, command: str) -> str:
        """What ``command`` prints; fails unless it exits as the runbook says there.

        What needs a GO is typed when traffic has brought it, and ``run`` has traffic meanwhile.
        """
        expected = expected_exit(command)
        epoch = self.rollout()["epoch"]
        if command.startswith(("crucible rollout advance", "crucible rollout run")) and not expected:
            self.until(self._may_go, "a GO")
        if command.startswith("crucible"):
            code, output = self._run(command, self._environment)
        else:
            code, output = self._run_in_shell(command)
        assert code == expected, f"{command}: exit {code}\n{output}"
        if command.startswith("mv "):
            self.until(lambda: self.rollout()["epoch"] > epoch, "a new epoch")
        return output

    def try_out(self, command: str) -> None:
        """The first time: as ``type``, on a copy of the store. It must work now, and nothing comes of it.

        What only looks at servers, which have no copy, is typed.
        """
        if command in self._tried:
            return
        self._tried.add(command)
        if command in _LOOKS:
            self.type(command)
            return
        home = self._line.home.with_name(f"copy-{len(self._tried)}")
        home.mkdir()
        source, copy = (sqlite3.connect(each / "crucible.db") for each in (self._line.home, home))
        source.backup(copy)
        source.close()
        copy.close()
        copied = {"CRUCIBLE_HOME": str(home), "CRUCIBLE_DATABASE_URL": sqlite_url(home / "crucible.db")}
        elsewhere = self._environment | copied
        code, output = self._run(command, elsewhere)
        assert code == expected_exit(command), f"{command}: {output}"

    def _run(self, command: str, environment: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and output of ``command``, read as by a shell; ``rollout run`` has traffic meanwhile."""
        _, *words = shlex.split(Template(command).substitute(environment), comments=True)
        with closing(Running(words, dict(environment))) as running:
            while words[:2] == ["rollout", "run"] and not running.has_ended():
                self.send(10)
            done = running.ended()
        return done.code, done.stdout + done.stderr

    def _run_in_shell(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            [_SHELL, "-c", command],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def _may_go(self) -> bool:
        found = self.rollout()
        if found["go"] or not found["next"]["needs_go"]:
            return True
        self.send(20)
        return False


@contextmanager
def migration(folder: Path, **settings: str) -> Iterator[Migration]:
    """A whole stack with these settings, its home in ``folder``; nothing of it may be left at the end."""
    # In SQLite whatever other tests use: what is tried out is tried on copies of the file.
    settings = {"API_KEY": _KEY, "DATABASE_URL": sqlite_url(folder / "home" / "crucible.db"), **settings}
    with (
        stack_up(folder / "home", **settings) as line,
        closing(Migration(line, _environment(line, folder, settings))) as opened,
    ):
        yield opened


def _environment(line: CommandLine, folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What a shell at that stack has set."""
    state = line.state()
    others = {name: value for name, value in os.environ.items() if not name.startswith("CRUCIBLE_")}
    return {
        **others,
        **{f"CRUCIBLE_{name}": value for name, value in settings.items()},
        "CRUCIBLE_HOME": str(folder / "home"),
        "CRUCIBLE_API_URL": state.api_url,
    }
