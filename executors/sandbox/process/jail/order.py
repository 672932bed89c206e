"""What a cell is told to run."""

from typing import Any


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
    """One program.

    ``stages`` are run one after another while each ends with exit code 0; the last one gets ``stdin``.
    """

    def __init__(self, header: dict[str, Any], code: bytes, stdin: bytes) -> None:
        self.number: int = header["number"]
        self.source: str = header["source"]
        self.environment: dict[str, str] = header["environment"]
        self.stages = [Stage(**stage) for stage in header["stages"]]
        self.code = code
        self.stdin = stdin
