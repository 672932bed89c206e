"""Exit codes, and how an error becomes one."""

import json
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from crucible.errors import Cancelled, CrucibleError, GateRefused, InputError, RolloutConflict
from crucible.models import Classification, Verdict


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    PLATFORM_FAULT = 4
    INTERRUPTED = 130


def known(error: BaseException) -> CrucibleError | None:
    """The error that Crucible raised on purpose: ``error`` itself, or the first one of a group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(known, error.exceptions)), None)
    return error if isinstance(error, CrucibleError) else None


def of_error(error: CrucibleError) -> Exit:
    """Wrong input is the user's to mend; a refusal, or that it was cancelled, is nobody's fault.

    All else is the platform's.
    """
    if isinstance(error, Cancelled):
        return Exit.INTERRUPTED
    if isinstance(error, (GateRefused, RolloutConflict)):
        return Exit.FAILED
    return Exit.USAGE if isinstance(error, InputError) else Exit.PLATFORM_FAULT


def of_verdict(verdict: Verdict) -> Exit:
    """What a sweep exits with."""
    return {
        Verdict.PASS: Exit.OK,
        Verdict.FAIL: Exit.FAILED,
        Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
    }[verdict]


def of_classification(classification: Classification) -> Exit:
    """What one evaluation exits with."""
    return {Classification.MATCH: Exit.OK, Classification.MISMATCH: Exit.FAILED}.get(
        classification, Exit.INCONCLUSIVE
    )


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def show(
    document: Mapping[str, Any], view: RenderableType, *, as_json: bool, soft_wrap: bool = False
) -> None:
    """A command's result: ``document`` as JSON, else ``view``, of which a string is printed as it is.

    Lines of a soft-wrapped view are never broken, so that what is in them can be copied.
    """
    if as_json:
        print_json(document)
    elif not isinstance(view, str):
        Console().print(view, soft_wrap=soft_wrap)
    elif view:
        typer.echo(view)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object: no wrapping, no colours, in any locale."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
