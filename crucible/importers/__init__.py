"""Converts the data sets that people have into evaluations. One module for each data set."""

from collections.abc import Callable, Iterator
from pathlib import Path

from crucible.importers import humaneval, humaneval_x, mbpp
from crucible.importers.records import Record, Skipped, read_records
from crucible.models import Evaluation

IMPORTERS: dict[str, Callable[[Record], Evaluation | Skipped]] = {
    "humaneval": humaneval.convert,
    "humaneval-x": humaneval_x.convert,
    "mbpp": mbpp.convert,
}
"""What converts one record, by the name of its data set."""

__all__ = ["IMPORTERS", "Record", "Skipped", "import_records"]


def import_records(data_set: str, path: Path) -> Iterator[Evaluation | Skipped]:
    """The records of a data set's file (JSON Lines, plain or gzipped), converted one by one.

    Raises ``InputError`` for a file that cannot be read and ``CorpusError``, naming line and key,
    for a record that is not one of that data set; both when that record is asked for.
    """
    convert = IMPORTERS[data_set]
    return (convert(record) for record in read_records(path))
