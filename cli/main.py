"""``crucible``: all commands, and the one place where errors become exit codes."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import exits
from cli.commands import corpus, down, evaluate, execute, status, sweep, up
from crucible.errors import CrucibleError

_EPILOG = "Exit codes: 0 as wished, 1 failed, 2 wrong usage or input, 3 inconclusive, 4 platform fault."


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="crucible",
        help="Run programs on the legacy queue and on Celery, and see whether both say the same.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    app.command("sweep")(sweep.command)
    app.command("evaluate")(evaluate.command)
    app.command("execute")(execute.command)
    app.add_typer(corpus.app, name="corpus")
    app.command("up")(up.command)
    app.command("down")(down.command)
    app.command("status")(status.command)
    return app


def _print_version(asked: bool) -> None:  # noqa: FBT001  (the signature of an option's callback)
    if asked:
        typer.echo(f"crucible {version('crucible')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run programs on the legacy queue and on Celery, and see whether both say the same."""


def main() -> None:
    """Run the command line; a known error is one line on standard error, never a traceback."""
    try:
        build()()
    except CrucibleError as error:
        sys.stderr.write(f"crucible: {error}\n")
        sys.exit(exits.of_error(error))
    except KeyboardInterrupt:
        sys.exit(exits.Exit.INTERRUPTED)
