"""``crucible corpus``: corpora made from the data sets that people have, and from what came in."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer
from rich.console import Console

from cli.exits import Json, print_json
from cli.migration import on_store
from crucible.corpus import to_line
from crucible.errors import InputError
from crucible.importers import Skipped, import_records
from crucible.store import Store
from flows.corpora import recorded_lines

app = typer.Typer(help="Make corpora from data sets, and from what came in.")


DataSet = Literal["humaneval", "mbpp", "humaneval-x"]


@app.command("import")
def import_data_set(
    *,
    data_set: Annotated[DataSet, typer.Argument(help="Which data set FILE holds.", metavar="DATA_SET")],
    file: Annotated[Path, typer.Argument(help="JSON Lines, plain or gzipped.", metavar="FILE")],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Corpus file to write; standard output when not given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print counts as JSON on standard output; needs --output.")
    ] = False,
) -> None:
    """Convert a data set to a corpus: each canonical solution under its test.

    DATA_SET is humaneval, mbpp or humaneval-x.

    Example: crucible corpus import humaneval HumanEval.jsonl.gz --output humaneval.jsonl
    """
    if as_json and output is None:
        raise InputError("--json prints counts to standard output, so the corpus needs --output FILE")
    skipped: Counter[str] = Counter()
    imported = 0
    with _destination(output) as stream:
        for converted in import_records(data_set, file):
            if isinstance(converted, Skipped):
                skipped[converted.what] += 1
            else:
                stream.write(to_line(converted).encode() + b"\n")
                imported += 1
    if as_json:
        print_json({"imported": imported, "skipped": skipped, "output": str(output)})
    else:
        typer.echo(_summary(imported, skipped), err=True)


@app.command("record")
def record(
    *,
    file: Annotated[Path, typer.Argument(help="Corpus file to write.", metavar="FILE")],
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most N programs, the newest first.")
    ] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write the newest evaluations that came in by the API as a corpus, each program once.

    They can be swept again, on this machine or another. Takes them from the store of CRUCIBLE_HOME or
    CRUCIBLE_DATABASE_URL, whether a stack is up or not. FILE holds whole programs: keep it like them.

    Example: crucible corpus record recorded.jsonl --limit 500
    """
    if file.exists() and not force:
        raise InputError(f"{file}: is there already; name another file, or replace it with --force")
    number = on_store(lambda store: _record(store, file, limit))
    if as_json:
        print_json({"recorded": number, "output": str(file)})
    else:
        typer.echo(f"{number} recorded", err=True)


async def _record(store: Store, file: Path, limit: int) -> int:
    """How many programs were written; raises ``InputError`` when there are none, and writes no file then."""
    number = 0
    with Console(stderr=True).status("recording") as status, _whole_file(file) as stream:
        async for line in recorded_lines(store, limit):
            stream.write(line.encode() + b"\n")
            number += 1
            status.update(f"{number:,} of at most {limit:,} recorded")
        if not number:
            raise InputError(
                "no evaluation has come in by the API yet; submit one with POST /evaluations, or name the"
                " store that has some with CRUCIBLE_HOME or CRUCIBLE_DATABASE_URL"
            )
    return number


def _summary(imported: int, skipped: Counter[str]) -> str:
    left_out = ", ".join(f"{count} {what}" for what, count in sorted(skipped.items()))
    return f"{imported} imported" + (f"; skipped: {left_out}" if left_out else "")


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    if output is None:
        yield typer.get_binary_stream("stdout")
        return
    with _whole_file(output) as stream:
        yield stream


@contextmanager
def _whole_file(output: Path) -> Iterator[IO[bytes]]:
    """A file to write that appears only when all of it is there: a fault leaves no half of one.

    Replaces what is there. Raises ``InputError`` when it is no regular file or cannot be written.
    """
    target = output.resolve()
    if target.exists() and not target.is_file():
        raise InputError(f"{output}: is not a regular file; give the name of a corpus file")
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(target)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
