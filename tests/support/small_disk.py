"""A file system with room for little, that can be filled and freed."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SIZE_MB = 32
_BLOCK = bytes(65536)


class SmallDisk:
    """A file system of a few MB, mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Has it no room for a single byte."""
        try:
            with self._ballast.open("wb", buffering=0) as ballast:
                for size in (len(_BLOCK), 1):
                    _write_until_full(ballast.fileno(), _BLOCK[:size])
            yield
        finally:
            self._ballast.unlink()


@contextmanager
def small_disk() -> Iterator[SmallDisk]:
    """Mount one, and unmount it in the end; the test is skipped where nothing can be mounted."""
    with tempfile.TemporaryDirectory(prefix="crucible-disk-") as folder:
        mounting = subprocess.run(
            ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounting.returncode:
            pytest.skip(f"no small file system can be mounted: {mounting.stderr.strip()}")
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run(["/usr/bin/env", "umount", folder], check=True)


def _write_until_full(file: int, block: bytes) -> None:
    while True:
        try:
            os.write(file, block)
        except OSError:
            return
