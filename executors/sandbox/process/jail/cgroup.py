"""The control groups of slots: memory, process count and CPU time by the kernel's books.

A slot enters its own once, as root, before it gives its privileges up; the files it needs later stay open.
"""

import os

from executors.sandbox.process.jail.group import Group, Hierarchy, Version1, Version2
from executors.sandbox.supervision.books import field


def available() -> bool:
    """Whether slots may be given control groups here: root, and all controllers ours to hand on.

    With version 2 this may move the process that asks into a group of its own, below the one it was in.
    """
    return os.geteuid() == 0 and _hierarchy().ready()


def parents() -> list[str]:
    """The folders in which slots' groups are made."""
    return _hierarchy().parents()


def folders(name: str) -> list[str]:
    """The folders of the slot called ``name``, one for each hierarchy."""
    return [f"{parent}/{name}" for parent in parents()]


def enter(name: str) -> Group:
    """Make the group of the slot called ``name`` and move this process into it."""
    return _hierarchy().enter(name)


def remove(name: str) -> bool:
    """Remove the group of a slot that has ended; false while something in it still is."""
    for folder in folders(name):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def remove_orphans() -> None:
    """Remove the groups of executors that are no more (a slot's name begins with its executor's pid)."""
    for folder in parents():
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
        except FileNotFoundError:
            continue
        for name in names:
            if not os.path.exists(f"/proc/{name.partition('-')[0]}"):
                remove(name)


def out_of_memory_kills(name: str) -> int:
    """How many processes the kernel has killed for want of memory in the group called ``name``."""
    with open(_hierarchy().events(name), "rb") as file:
        return field(file.read(), b"oom_kill ")


def _hierarchy() -> Hierarchy:
    """Version 1 where its controllers are; a kernel gives each controller to one version only."""
    first = Version1()
    return first if first.ready() else Version2()
