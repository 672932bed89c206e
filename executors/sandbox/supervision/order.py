"""What the watcher of a program is told to run."""

from typing import Any

from executors.sandbox.supervision.files import File


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
