"""What a slot needs of its control group, whichever version of control groups the kernel keeps."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

from executors.sandbox.supervision.books import Books
from executors.sandbox.supervision.meter import Alarm

PARENT = "crucible"
"""Name of the group below which all slots of all executors have theirs."""


class Group(ABC):
    """The group this process is in, seen through files opened while it could open them.

    ``alarm`` rings once a program has met with its memory limit.
    """

    books: Books
    alarm: Alarm

    @abstractmethod
    def limit(self, memory_bytes: int, processes: int) -> None:
        """Allow this group so much in all from now on, and measure its peak anew.

        Raises ``OSError`` while more memory is in use than that.
        """

    @abstractmethod
    def lift_limit(self) -> None:
        """Let memory be free again until the next program begins, and forget what the last one left.

        After many processes or file names the kernel takes its time to give back what it held for them,
        which the next program would lack.
        """


class Hierarchy(ABC):
    """Where the kernel lets this process make groups."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether groups with all we count can be made here; makes ready what that takes."""

    @abstractmethod
    def parents(self) -> list[str]:
        """The folders in which groups are made: each group has one of its name in each of them."""

    @abstractmethod
    def events(self, name: str) -> str:
        """The path of the file in which the kernel counts the kills in the group called ``name``."""

    @abstractmethod
    def enter(self, name: str) -> Group:
        """Make the group called ``name`` and move this process into it; takes root."""


def mounted(kind: str) -> Iterator[tuple[str, str]]:
    """Where hierarchies of ``kind`` are mounted, each with its options."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            found, _, options = right.rstrip("\n").split(" ", 2)
            if found == kind:
                yield left.split(" ")[4], options


def own_groups() -> dict[str, str]:
    """The path of this process's group by controller; that of version 2 is under the empty name.

    The topmost group has the empty path.
    """
    own = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path.rstrip("/")))
    return own


def write_path(path: str, text: str) -> None:
    """Write a setting by its file's name."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write(descriptor: int, text: str | int) -> None:
    """Write a setting to its open file."""
    os.pwrite(descriptor, str(text).encode(), 0)
