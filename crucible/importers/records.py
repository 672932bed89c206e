"""Records of a data set, and how their fields are taken out with clear errors."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crucible.corpus import first_fault, open_plain, raw_lines, shown
from crucible.errors import CorpusError, InputError
from crucible.models import Evaluation

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is deliberately not converted; ``what`` it is, for the count."""

    what: str


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a data set's file. Its methods raise ``CorpusError`` naming file, line and key."""

    file: str
    number: int
    fields: dict[str, Any]

    def text(self, key: str, default: str | None = None) -> str:
        """The text under ``key``; ``default``, where given, when it is missing or null."""
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._unfit(key, "text")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """The list of texts under ``key``; ``default``, where given, when it is missing or null."""
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._unfit(key, "a list of texts")
        return tuple(value)

    def whole_number(self, key: str) -> int:
        """The whole number under ``key``."""
        value = self.fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._unfit(key, "a whole number")
        return value

    def fault(self, key: str, problem: str) -> CorpusError:
        """The error to raise for what is wrong under ``key``."""
        return CorpusError(self.file, self.number, key, problem)

    def evaluation(self, **values: object) -> Evaluation:
        """An evaluation made of this record."""
        try:
            return Evaluation.model_validate(values)
        except ValidationError as error:
            raise self.fault(*first_fault(b"", error)) from None

    def _unfit(self, key: str, wanted: str) -> CorpusError:
        if key not in self.fields:
            keys = ", ".join(sorted(self.fields)) or "none"
            return self.fault(key, f"missing (the line has {keys}); is this file of that data set?")
        return self.fault(key, f"must be {wanted}, not {shown(self.fields[key])}")


def read_records(path: Path) -> Iterator[Record]:
    """The records of a JSON Lines file, plain or gzipped, read as they are asked for."""
    file = str(path)
    try:
        for number, raw in raw_lines(path, _opened):
            yield Record(file, number, _fields(file, number, raw))
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch it again") from None


def _opened(path: Path) -> BufferedIOBase:
    with open_plain(path) as stream:
        zipped = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return gzip.open(path, "rb") if zipped else open_plain(path)


def _fields(file: str, number: int, raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CorpusError(file, number, "", f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise CorpusError(file, number, "", f"must be an object, not {shown(fields)}")
    return fields
