"""Who a program is: the same user without any privilege in every sandbox."""

import os

from executors.sandbox.supervision import syscalls as sc

_INSIDE_ID = 1000
_LAST_CAPABILITY = 40


def enter_user_namespace(others: int = 0) -> None:
    """Enter a user namespace, and ``others``, in which this process is user 1000 and nobody else exists.

    Raises ``OSError`` where the system lets no unprivileged process do that.
    """
    uid, gid = os.getuid(), os.getgid()
    sc.prctl(sc.PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map belongs to root
    sc.unshare(sc.CLONE_NEWUSER | others)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_INSIDE_ID} {uid} 1"),
        ("gid_map", f"{_INSIDE_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def renounce() -> None:
    """Make sure that nothing started from here ever gains a privilege; what is held already stays."""
    for number in range(_LAST_CAPABILITY + 1):
        try:
            sc.prctl(sc.PR_CAPBSET_DROP, number)
        except OSError:
            break  # an older kernel knows fewer
    sc.prctl(sc.PR_CAP_AMBIENT, sc.PR_CAP_AMBIENT_CLEAR_ALL)
    sc.prctl(sc.PR_SET_SECUREBITS, sc.SECUREBITS_LOCKED)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    sc.prctl(sc.PR_SET_DUMPABLE, 0)  # watchers share memory with, or the user of, a program


def known_capabilities() -> int:
    """The permitted capabilities that this code knows: a container's root may have fewer than all."""
    with open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16) & ((1 << (_LAST_CAPABILITY + 1)) - 1)
    return 0
