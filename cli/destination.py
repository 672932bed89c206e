"""Files that commands write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from crucible.errors import InputError


@contextmanager
def whole_file(output: Path) -> Iterator[IO[bytes]]:
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
