"""A file system with room for little, that can be filled and freed."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SIZE_MB = 32
_BLOCK = bytes(65536)
_FILL_EVERY_S = 0.05


class SmallDisk:
    """A file system of a few MB, mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Has it no room for a single byte; what others free is taken at once."""
        stopping = threading.Event()
        with self._ballast.open("wb", buffering=0) as ballast:
            _fill(ballast.fileno())
            filling = threading.Thread(target=_keep_full, args=(ballast.fileno(), stopping))
            filling.start()
            try:
                yield
            finally:
                stopping.set()
                filling.join()
                self._ballast.unlink()


@contextmanager
def mounted_at(folder: Path, megabytes: int) -> Iterator[SmallDisk | None]:
    """Mount one at ``folder``, and unmount it in the end; none where this user may not."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=0700"
    words = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_disk() -> Iterator[SmallDisk]:
    """Mount one somewhere; the test is skipped where nothing can be mounted."""
    folders = tempfile.TemporaryDirectory(prefix="crucible-disk-")
    with folders as folder, mounted_at(Path(folder), _SIZE_MB) as disk:
        if disk is None:
            pytest.skip("only root can mount a small file system")
        yield disk


def _keep_full(file: int, stopping: threading.Event) -> None:
    while not stopping.wait(_FILL_EVERY_S):
        _fill(file)


def _fill(file: int) -> None:
    for size in (len(_BLOCK), 1):
        _write_until_full(file, _BLOCK[:size])


def _write_until_full(file: int, block: bytes) -> None:
    while True:
        try:
            os.write(file, block)
        except OSError:
            return
