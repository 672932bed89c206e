"""``crucible``: all commands, and the one place where errors become exit codes."""

import logging
import os
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from cli import exits
from cli.commands import (
    bench,
    breakers,
    cancel,
    causes,
    corpus,
    dlq,
    evaluate,
    evidence,
    execute,
    images,
    keys,
    reproduce,
    rollout,
    stack,
    store,
    sweep,
)
from crucible.errors import CrucibleError
from crucible.logging import configure_events

_EPILOG = "Exit codes: 0 as wished, 1 failed, 2 wrong usage or input, 3 inconclusive, 4 platform fault."


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="crucible",
        help="Run programs on the legacy queue and on Celery, and see whether both say the same.",
        epilog=_EPILOG,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    app.command("sweep")(sweep.command)
    app.command("evaluate")(evaluate.command)
    app.command("cancel")(cancel.command)
    app.add_typer(dlq.app, name="dlq")
    app.command("reproduce")(reproduce.command)
    app.command("causes")(causes.command)
    app.command("execute")(execute.command)
    app.add_typer(corpus.app, name="corpus")
    app.add_typer(images.app, name="images")
    app.command("evidence")(evidence.command)
    app.add_typer(rollout.app, name="rollout")
    app.add_typer(keys.app, name="keys")
    app.add_typer(store.app, name="store")
    app.command("up")(stack.up)
    app.command("down")(stack.down)
    app.command("status")(stack.status)
    app.command("breakers")(breakers.command)
    app.command("bench")(bench.command)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"crucible {version('crucible')}")
        raise typer.Exit


def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run programs on the legacy queue and on Celery, and see whether both say the same."""


def main() -> NoReturn:
    """Run the command line and exit; a known error is one line on standard error, never a traceback."""
    configure_events("stderr", logging.WARNING)  # standard output is for what was asked for alone
    try:
        code = build()(sys.argv[1:] or ["--help"], prog_name="crucible", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        code = _say(_usage_fault(error), exits.Exit.USAGE)
    except (CrucibleError, BaseExceptionGroup) as error:
        fault = exits.known(error)
        if fault is None:
            raise
        code = _say(str(fault), exits.of_error(fault))
    except BrokenPipeError:
        # Whoever read the output has gone; what is left in the buffer must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.Exit.FAILED
    except KeyboardInterrupt:
        code = exits.Exit.INTERRUPTED
    sys.exit(code)


def _say(fault: str, code: exits.Exit) -> exits.Exit:
    sys.stderr.write(f"crucible: {' '.join(fault.splitlines())}\n")
    return code


def _usage_fault(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "crucible"
    return f"{error.format_message().rstrip('.')} (see {command} --help)"
