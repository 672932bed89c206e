"""``crucible corpus``: corpora made from the data sets that people have, and from what came in."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from cli.commands import record
from cli.destination import whole_file
from crucible.corpus import to_line
from crucible.errors import InputError
from crucible.importers import Skipped, import_records

app = typer.Typer(help="Make corpora from data sets, and from what came in.")
app.command("record")(record.command)


class DataSet(StrEnum):
    """The data sets that can be imported."""

    HUMANEVAL = "humaneval"
    MBPP = "mbpp"
    HUMANEVAL_X = "humaneval-x"


@app.callback()
def corpus() -> None:
    """Make corpora from data sets, and from what came in."""


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
        typer.echo(json.dumps({"imported": imported, "skipped": skipped, "output": str(output)}))
    else:
        typer.echo(_summary(imported, skipped), err=True)


def _summary(imported: int, skipped: Counter[str]) -> str:
    left_out = ", ".join(f"{count} {what}" for what, count in sorted(skipped.items()))
    return f"{imported} imported" + (f"; skipped: {left_out}" if left_out else "")


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    if output is None:
        yield typer.get_binary_stream("stdout")
        return
    with whole_file(output) as stream:
        yield stream
