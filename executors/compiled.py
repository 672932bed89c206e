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
    ``hits`` and ``misses`` count how often something was found, and not.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[bytes, tuple[File, ...]] = OrderedDict()
        self._room = kept_bytes
        self.hits = 0
        self.misses = 0

    def find(self, program: Program) -> tuple[File, ...] | None:
        """What ``program``, a compiler's run, has made before."""
        key = _key(program)
        if key not in self._kept:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return self._kept[key]

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
    """Everything that a compiler sees: first all but the contents, with their lengths, then those."""
    files = sorted(program.files)
    header = (
        program.family,
        program.stage.argv,
        sorted(program.environment.items()),
        [(file.path, file.executable, len(file.content)) for file in files],
    )
    seen = hashlib.sha256(repr(header).encode())
    for file in files:
        seen.update(file.content)
    return seen.digest()
