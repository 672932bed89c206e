"""``crucible execute``: one program, one sandbox, no queues."""

import json
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.exits import Exit
from cli.programs import language_of, read_text
from cli.terminal.evaluate_view import render_observation
from crucible.errors import InputError, PlatformError
from crucible.models import Observation


class Sandbox(StrEnum):
    """The sandboxes there are."""

    PROCESS = "process"
    DOCKER = "docker"


def command(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            help='The program; - reads {"language","code","stdin","limits"} from standard input.',
            metavar="FILE",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its language; told by the file's ending when not given."),
    ] = None,
    stdin: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to give it as standard input.")
    ] = None,
    sandbox: Annotated[Sandbox, typer.Option(help="What isolates it.")] = Sandbox.PROCESS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the observation as JSON.")] = False,
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
    # One process away: nothing but an executor ever imports a sandbox.
    done = subprocess.run(
        [sys.executable, "-m", "executors.run_once"],
        input=order,
        env={**os.environ, "CRUCIBLE_EXECUTOR_SANDBOX": sandbox.value},
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == Exit.USAGE:
        raise InputError(said[-1])
    if done.returncode != Exit.OK:
        raise PlatformError(f"the sandbox process failed with {done.returncode}: {said[-1] if said else ''}")
    if as_json or str(file) == "-":
        sys.stdout.buffer.write(done.stdout)
    else:
        Console().print(render_observation(Observation.model_validate_json(done.stdout.splitlines()[-1])))
