"""What compilers have made, kept by content: the same program is compiled once."""

import hashlib
from collections import OrderedDict

from executors.sandbox.interface import Program
from executors.sandbox.supervision.files import File

KEPT_BYTES = 128 << 20
"""How many bytes of compiled programs an executor keeps."""


class Compiled:
    """Compiled programs by what went into them, the ones used least lately dropped first.

    Only successes: a compiler that failed is asked again, since the machine may have been at fault.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[bytes, tuple[File, ...]] = OrderedDict()
        self._room = kept_bytes

    def find(self, program: Program) -> tuple[File, ...] | None:
        """What ``program``, a compiler's run, has made before."""
        key = _key(program)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, program: Program, made: tuple[File, ...]) -> None:
        """Remember what ``program`` has made."""
        key = _key(program)
        self._room += _size(self._kept.pop(key, ())) - _size(made)
        self._kept[key] = made
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += _size(dropped)


def _size(files: tuple[File, ...]) -> int:
    return sum(len(file.content) for file in files)


def _key(program: Program) -> bytes:
    """Everything that a compiler sees; each part with its length, so that none can pass for another."""
    seen = hashlib.sha256()
    for part in (program.family, *program.stage.argv, str(sorted(program.environment.items()))):
        _add(seen, part.encode())
    for file in sorted(program.files):
        _add(seen, file.path.encode())
        _add(seen, file.content)
    return seen.digest()


def _add(seen: "hashlib._Hash", part: bytes) -> None:
    seen.update(b"%d:" % len(part))
    seen.update(part)
