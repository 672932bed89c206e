"""``crucible reproduce``: the smallest program that shows a mismatch, as a test."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cli import foreground
from cli.exits import Exit, Json, print_json, show
from cli.sweeping import run_reproduce
from crucible.report.visible import visible_text
from crucible.reproducer import AT_MOST, Reproducer, write_reproducer
from crucible.settings import Settings, load


def command(
    *,
    evaluation_id: Annotated[
        str, typer.Argument(help="The mismatch, by Crucible's id (ev-…).", metavar="EVALUATION_ID")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for its files; new in the home folder when not given."),
    ] = None,
    at_most: Annotated[
        int, typer.Option("--at-most", min=1, metavar="N", help="Try at most N smaller programs.")
    ] = AT_MOST,
    as_json: Json = False,
) -> None:
    """Reduce a mismatch to the lines, words and input that it needs, and write it as a pytest file.

    Exit 0 when it was written, 1 when the mismatch did not show again, 2 when there is none of that id.
    Starts a local stack and stops it again unless one is up. Needs the settings with which it was found.

    Example: crucible reproduce ev-01M8274FT4D5Q96BD2F9SCAN7X --out reproducer
    """
    settings = load(Settings)
    found = foreground.run(run_reproduce(settings, evaluation_id, at_most))
    if found is None:
        _say_gone(evaluation_id, as_json=as_json)
        raise typer.Exit(Exit.FAILED)
    files = write_reproducer(found, out or settings.home / "reproducers" / evaluation_id)
    show(_document(found, files), _in_words(found, files), as_json=as_json)


def _say_gone(evaluation_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"evaluation_id": evaluation_id, "reproduced": False})
    else:
        said = (
            f"{evaluation_id} did not show its mismatch again, three times alike; there is nothing to reduce"
        )
        Console(stderr=True).print(Text(said), soft_wrap=True)


def _document(found: Reproducer, files: tuple[Path, ...]) -> dict[str, Any]:
    fields = found.model_dump(mode="json", exclude={"reduced"})
    return {**fields, "reproduced": True, "files": [str(path) for path in files]}


def _in_words(found: Reproducer, files: tuple[Path, ...]) -> str:
    before, after = found.before, found.after
    sizes = [f"code {before.lines} → {after.lines} lines, {before.bytes} → {after.bytes} bytes"]
    if before.stdin_bytes:
        sizes.append(f"standard input {before.stdin_lines} → {after.stdin_lines} lines")
    end = "" if found.minimal else "; not minimal: more programs may be tried with --at-most"
    return "\n".join(
        (
            f"{visible_text(found.fingerprint.summary)} (cause {found.fingerprint.digest})",
            f"{'; '.join(sizes)}",
            f"{found.programs} programs tried in {found.runs} runs of both legs{end}",
            f"run it with: pytest {files[0]}",
        )
    )
