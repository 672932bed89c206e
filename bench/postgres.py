"""A Postgres server of one's own, for as long as a benchmark or tests run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.stack.service import choose_ports

DEBIAN = Path("/usr/lib/postgresql")
START_S = 60
NOBODY = 65534
"""The user as whom Postgres is run by root, as whom it refuses to run."""


def missing() -> str | None:
    """Why no Postgres server can be started here; null when one can."""
    if _folder_of_programs() is None:
        return "no Postgres here: initdb and postgres are neither on PATH nor below /usr/lib/postgresql"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "Postgres does not run as root, and setpriv is not here to run it as somebody else"
    return None


@contextmanager
def running(**settings: str) -> Iterator[str]:
    """Start a server on a free loopback port, yield its URL without a database, and stop it.

    ``settings`` are the server's own, besides that it may forget the last seconds when the machine dies.
    The URL ends in a slash; the database ``postgres`` is there. Everything is in a folder that is removed.
    """
    programs = _folder_of_programs()
    if programs is None:
        raise RuntimeError(missing())
    folder = Path(tempfile.mkdtemp(prefix="crucible-postgres-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        port = choose_ports({"port": 0})["port"]
        data = folder / "data"
        kind = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        _run(programs / "initdb", "-D", data, "-U", "crucible", *kind)
        given = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            **settings,
        }
        options = " ".join(f"-c {name}={value}" for name, value in given.items())
        log = folder / "log"
        _run(programs / "pg_ctl", "-D", data, "-l", log, "-w", "-t", START_S, "-o", options, "start")
        try:
            yield f"postgresql://crucible@127.0.0.1:{port}/"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of_programs() -> Path | None:
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(DEBIAN.glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "pg_ctl").exists()), None)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
    done = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        timeout=2 * START_S,
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(words)} ended with {done.returncode}: {done.stdout.decode(errors='replace')}"
        )
