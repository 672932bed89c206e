"""The files a program is given, and those it leaves."""

import os
import stat
from typing import Any, NamedTuple

_MOST_COLLECTED_BYTES = 64 << 20
_LONGEST_FOLDER = 1000
"""A compiler can be made to nest folders deeper than they can be walked, or made again for a run."""
_WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ANYONE_RUNS = 0o111


class File(NamedTuple):
    """A file by its path in the working folder, and whether it may be run."""

    path: str
    content: bytes
    executable: bool = False


class TooLargeError(Exception):
    """What a program leaves is more than is carried from one place to another."""


def place(folder: str, files: list[File]) -> None:
    """Write ``files`` into ``folder``, in which nothing is yet."""
    for file in files:
        path = f"{folder}/{file.path}"
        if "/" in file.path:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, _WRITE_NEW, 0o755 if file.executable else 0o644)
        left = memoryview(file.content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.close(descriptor)


def collect(folder: str) -> list[File]:
    """The regular files in ``folder`` and below, links and all else left out; raises ``TooLargeError``.

    A file whose permissions keep its own owner from reading it is left out as well.

    To be called when nothing runs any more that could exchange one file for another.
    """
    found: list[File] = []
    room = _MOST_COLLECTED_BYTES
    for inside, _, names in os.walk(folder):
        if len(inside) > _LONGEST_FOLDER:
            raise TooLargeError
        for name in names:
            path = f"{inside}/{name}"
            if not stat.S_ISREG(os.lstat(path).st_mode) or not os.access(path, os.R_OK):
                continue
            content, mode = _read(path, room)
            room -= len(content)
            found.append(File(os.path.relpath(path, folder), content, bool(mode & _ANYONE_RUNS)))
    return found


def _read(path: str, room: int) -> tuple[bytes, int]:
    with open(os.open(path, _READ), "rb") as file:
        content = file.read(room + 1)
        if len(content) > room:
            raise TooLargeError
        return content, os.fstat(file.fileno()).st_mode


class Stage:
    """One command, with absolute path, and what it may use: seconds, bytes and counts."""

    def __init__(
        self,
        argv: list[str],
        wall_s: float,
        cpu_s: float,
        memory_bytes: int,
        processes: int,
        output_bytes: int,
        disk_bytes: int,
    ) -> None:
        self.argv = argv
        self.wall_s = wall_s
        self.cpu_s = cpu_s
        self.memory_bytes = memory_bytes
        self.processes = processes
        self.output_bytes = output_bytes
        self.disk_bytes = disk_bytes


class Order:
    """One program. With ``collect`` the files it leaves in its folder are wanted if it ends well."""

    def __init__(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        *contents, self.stdin = blobs
        self.number: int = header["number"]
        self.environment: dict[str, str] = header["environment"]
        self.stage = Stage(**header["stage"])
        self.collect: bool = header["collect"]
        self.files = [
            File(path, content, executable)
            for (path, executable), content in zip(header["files"], contents, strict=True)
        ]

    @property
    def file_bytes(self) -> int:
        """Size of all files together."""
        return sum(len(file.content) for file in self.files)
