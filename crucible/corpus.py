"""Reading and writing of corpora: JSON Lines, one evaluation a line, streamed.

A corpus is read twice by a sweep: ``validate`` goes over all of it before anything is enqueued,
then ``read`` hands out one line after the other. Neither holds more than a line in memory.

What is wrong with a line is said in plain words. Only lines that were refused come there, so clarity goes
before speed.
"""

import codecs
import json
import re
import reprlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crucible.errors import CorpusError, InputError
from crucible.models import Evaluation, Expectation, Limits, Outcome
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from crucible.models.frozen import Frozen

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_WANTED = {
    "model_type": "an object",
    "tuple_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
_PARTS: dict[tuple[str, ...], type[BaseModel]] = {("limits",): Limits, ("expect",): Expectation}


def first_fault(raw: bytes, error: ValidationError) -> tuple[str, str]:
    """Key (``limits.wall_s``; empty for the line as a whole) and problem of one refused line.

    Of several faults an unknown key is told first: a misspelt key is why another one is missing.
    """
    faults = error.errors(include_url=False)
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    if fault["type"] == "json_invalid":
        return _not_json(raw, str(fault["ctx"]["error"]))
    path = tuple(str(part) for part in fault["loc"] if isinstance(part, str))
    return shortened(".".join(path)), _problem(fault, path)


def shortened(text: str, length: int = 80) -> str:
    """``text``, cut to ``length`` characters; the cut is visible."""
    return text if len(text) <= length else f"{text[:length]}…"


def shown(value: object) -> str:
    """A JSON value on one line, shortened, as its author would write it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    brief = reprlib.Repr()
    brief.maxstring = brief.maxlong = brief.maxother = 60
    return shortened(brief.repr(value))


def _not_json(raw: bytes, reason: str) -> tuple[str, str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return "", f"not UTF-8: byte {byte:#04x} at position {error.start + 1}; convert the file to UTF-8"
    try:
        surrogate = next(_lone_surrogates(json.loads(text)), None)
    except (ValueError, RecursionError):
        surrogate = None
    if surrogate:
        path, character = surrogate
        return shortened(path), f"holds a lone surrogate (\\u{ord(character):x}); UTF-8 cannot carry it"
    return "", f"not JSON: {re.sub(r' at line 1 column ', ' at column ', reason)}"


def _lone_surrogates(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        found = re.search("[\ud800-\udfff]", value)
        if found:
            yield path, found.group()
    elif isinstance(value, dict):
        for key, inner in value.items():
            name = key.encode(errors="backslashreplace").decode()
            yield from _lone_surrogates(key, name)
            yield from _lone_surrogates(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _lone_surrogates(inner, path)


def _problem(fault: ErrorDetails, path: tuple[str, ...]) -> str:
    kind, value = fault["type"], fault["input"]
    match kind:
        case "extra_forbidden":
            problem = f"unknown key; known keys are {', '.join(_model(path).model_fields)}"
        case "missing":
            problem = "missing; every evaluation has id, language and code"
        case "greater_than_equal" | "less_than_equal":
            problem = f"is {shown(value)}; the range is {_range(path)}"
        case "string_too_short" | "too_short":
            problem = "must not be empty"
        case "string_too_long":
            problem = f"is {len(value)} characters long; the limit is {fault['ctx']['max_length']}"
        case "enum":
            problem = f"no outcome is called {shown(value)}; outcomes are {', '.join(Outcome)}"
        case "value_error":
            problem = str(fault["ctx"]["error"])
        case _ if kind in _WANTED:
            problem = f"must be {_WANTED[kind]}, not {_described(value)}"
        case _:
            problem = f"{fault['msg']}: {shown(value)}"
    return problem


def _described(value: object) -> str:
    kind = _KINDS.get(type(value), "something else")
    return kind if value is None else f"{kind} ({shown(value)})"


def _model(path: tuple[str, ...]) -> type[BaseModel]:
    """The model whose key the last part of ``path`` is."""
    return _PARTS.get(path[:-1], Evaluation)


def _range(path: tuple[str, ...]) -> str:
    bounds = _model(path).model_fields[path[-1]].metadata
    low = next(bound.ge for bound in bounds if isinstance(bound, Ge))
    high = next(bound.le for bound in bounds if isinstance(bound, Le))
    return f"{low} to {high}"


MAX_LINE_BYTES = 13 * MAX_PROGRAM_BYTES
"""The longest line that is read: code and standard input of full size, each byte written as a
six-byte JSON escape, and as much room for the rest as one of them takes unescaped."""


@dataclass(frozen=True, slots=True)
class Line:
    """One evaluation and where it stands: ``number`` counts from 1, blank lines included."""

    file: str
    number: int
    evaluation: Evaluation


class CorpusSummary(Frozen):
    """What ``validate`` counted.

    ``lines`` and ``per_language`` count every evaluation; ``unavailable`` counts those among them,
    by language, that cannot be run here.
    """

    lines: int
    per_language: dict[str, int]
    unavailable: dict[str, int]


def read(path: Path) -> Iterator[Line]:
    """The evaluations of one file, in order; blank lines and a byte order mark are passed over.

    Raises ``InputError`` for a file that cannot be read and ``CorpusError`` at the first line that
    does not fit, both when that line is asked for. Always the author's fault.
    """
    file = str(path)
    for number, raw in raw_lines(path):
        try:
            evaluation = Evaluation.model_validate_json(raw, strict=True)
        except ValidationError as error:
            raise CorpusError(file, number, *first_fault(raw, error)) from None
        yield Line(file, number, evaluation)


def open_plain(path: Path) -> BufferedIOBase:
    """``path``, open for reading as it is."""
    return path.open("rb")


def raw_lines(
    path: Path, opened: Callable[[Path], BufferedIOBase] = open_plain
) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank, without its byte order mark.

    Raises ``InputError`` for a file that cannot be read, ``CorpusError`` for a line too long.
    """
    try:
        with opened(path) as stream:
            yield from _bounded_lines(str(path), stream)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give a JSON Lines file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _bounded_lines(file: str, stream: BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise CorpusError(file, number, "", f"the line is longer than {MAX_LINE_BYTES} bytes")
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if raw.strip():
            yield number, raw


def validate(
    paths: Iterable[Path],
    languages: Collection[str],
    known: Collection[str],
    *,
    skip_unavailable: bool = False,
) -> CorpusSummary:
    """Read all files once and count them; memory does not grow with their size.

    ``known`` are the languages that executors can be taught, ``languages`` those among them that
    can be run here. Raises like ``read``, and ``CorpusError`` for an id that was used before in any
    of the files, a language nobody knows and, unless ``skip_unavailable``, one not available here.
    """
    per_language: Counter[str] = Counter()
    with closing(sqlite3.connect("")) as ids:  # private and on disk: gone when closed
        ids.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, file TEXT, line INTEGER) WITHOUT ROWID")
        for path in paths:
            for line in read(path):
                _require_known(line, known)
                if not skip_unavailable:
                    _require_available(line, languages)
                _require_new(line, ids)
                per_language[line.evaluation.language] += 1
    return CorpusSummary(
        lines=per_language.total(),
        per_language=dict(sorted(per_language.items())),
        unavailable={name: n for name, n in sorted(per_language.items()) if name not in languages},
    )


def to_line(evaluation: Evaluation) -> str:
    """``evaluation`` as a corpus line without its line end; what is left out is the default."""
    fields = evaluation.model_dump(mode="json", exclude_defaults=True)
    outcome = fields.get("expect", {}).get("outcome", [])
    if len(outcome) == 1:
        fields["expect"]["outcome"] = outcome[0]
    return json.dumps(fields, ensure_ascii=False)


def _require_known(line: Line, known: Collection[str]) -> None:
    language = line.evaluation.language
    if language not in known:
        problem = f"no executor runs {language!r}; known languages are {', '.join(sorted(known))}"
        raise CorpusError(line.file, line.number, "language", problem)


def _require_available(line: Line, languages: Collection[str]) -> None:
    language = line.evaluation.language
    if language not in languages:
        problem = (
            f"no toolchain for {language!r} here (there is one for {', '.join(sorted(languages))}); "
            "install it, or leave such lines out with --skip-unavailable"
        )
        raise CorpusError(line.file, line.number, "language", problem)


def _require_new(line: Line, ids: sqlite3.Connection) -> None:
    name = line.evaluation.id
    added = ids.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (name, line.file, line.number))
    if added.rowcount == 0:
        file, number = ids.execute("SELECT file, line FROM seen WHERE id = ?", (name,)).fetchone()
        problem = (
            f"{name!r} was used before, in {file}, line {number}; ids are unique over all files of a sweep"
        )
        raise CorpusError(line.file, line.number, "id", problem)
