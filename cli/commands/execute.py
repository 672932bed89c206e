"""``crucible execute``: one program, one sandbox, no queues."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.exits import Exit, Json
from cli.foreground import endings_handled
from cli.programs import Language, Stdin, language_of, read_text
from cli.terminal.report_view import render_observation
from crucible.errors import InputError, PlatformError
from crucible.models import Observation

Sandbox = Literal["process", "docker"]


def command(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            help='The program; - reads {"language","code","stdin","limits"} from standard input.',
            metavar="FILE",
        ),
    ] = None,
    language: Language = None,
    stdin: Stdin = None,
    sandbox: Annotated[Sandbox, typer.Option(help="What isolates it.")] = "process",
    as_json: Json = False,
) -> None:
    """Run one program in a sandbox and print what was seen. Exit 0 when an observation was made.

    Example: crucible execute solution.py --stdin input.txt
    """
    if file is None:
        raise InputError("name a program file, or - to read an evaluation as JSON from standard input")
    if str(file) == "-":
        order = sys.stdin.buffer.read()
    else:
        fields = {
            "language": language_of(file, language),
            "code": read_text(file),
            "stdin": read_text(stdin) if stdin else "",
        }
        order = json.dumps(fields).encode()
    observation = _observed(order, sandbox)
    if as_json or str(file) == "-":
        sys.stdout.buffer.write(observation)
    else:
        Console().print(render_observation(Observation.model_validate_json(observation.splitlines()[-1])))


def _observed(order: bytes, sandbox: Sandbox) -> bytes:
    """The observation as JSON. One process away: nothing but an executor ever imports a sandbox."""
    runner = subprocess.Popen(
        [sys.executable, "-m", "executors.run_once"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "CRUCIBLE_EXECUTOR_SANDBOX": sandbox},
        start_new_session=True,  # signals reach it through us, and once
    )
    with runner, _forwarding(runner) as received:
        stdout, stderr = runner.communicate(order)
    if received:
        raise SystemExit(128 + received[0])
    said = stderr.decode(errors="replace").strip().splitlines()
    if runner.returncode == Exit.USAGE:
        raise InputError(said[-1])
    if runner.returncode != Exit.OK:
        raise PlatformError(
            f"the sandbox process failed with {runner.returncode}: {said[-1] if said else ''}"
        )
    return stdout


@contextmanager
def _forwarding(runner: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand on signals that ask us to end, since the program must end first; yields those that came."""
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        runner.send_signal(number)

    with endings_handled(forward):
        yield received
