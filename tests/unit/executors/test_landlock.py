"""The second wall on its own, around a process that has no first one."""

import errno
import json
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from executors.sandbox.process.jail import landlock

ROOT = str(Path(__file__).resolve().parents[3])
WALLED = f"""
import json, os, socket, sys
sys.path.insert(0, {ROOT!r})
from executors.sandbox.process.jail.landlock import ANYTHING, READ, WRITE_WHAT_IS_THERE, Landlock
from executors.sandbox.supervision import syscalls
open_, shut, parent, abstract = sys.argv[1:]
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
Landlock({{"/": READ, "/dev": WRITE_WHAT_IS_THERE}}, {{open_: ANYTHING}}).install()

def tried(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

seen = {{
    "read": tried(lambda: open(shut + "/file").read()),
    "write": tried(lambda: open(shut + "/file", "r+")),
    "truncate": tried(lambda: os.truncate(shut + "/file", 0)),
    "make": tried(lambda: open(shut + "/new", "x")),
    "make folder": tried(lambda: os.mkdir(shut + "/folder")),
    "remove": tried(lambda: os.unlink(shut + "/file")),
    "carry out": tried(lambda: os.rename(open_ + "/file", shut + "/carried")),
    "device": tried(lambda: open("/dev/null", "wb").write(b"x")),
    "write own": tried(lambda: open(open_ + "/new", "x")),
    "rename own": tried(lambda: os.renames(open_ + "/file", open_ + "/a/b")),
    "kill": tried(lambda: os.kill(int(parent), 0)),
    "abstract": tried(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + abstract)),
}}
print(json.dumps(seen))
"""
NOTHING_LEAVES = {"write", "truncate", "make", "make folder", "remove", "carry out"}


@pytest.fixture
def seen(tmp_path: Path) -> dict[str, Any]:
    """What a walled process comes across, as errnos."""
    open_, shut = tmp_path / "open", tmp_path / "shut"
    for folder in (open_, shut):
        folder.mkdir()
        (folder / "file").write_text("text", encoding="utf-8")
    abstract = str(uuid.uuid4())
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0" + abstract)
        listening.listen()
        arguments = [str(open_), str(shut), str(os.getpid()), abstract]
        command = [sys.executable, "-I", "-S", "-c", WALLED, *arguments]
        ran = subprocess.run(command, capture_output=True, check=True)
    assert (shut / "file").read_text(encoding="utf-8") == "text"
    assert [each.name for each in shut.iterdir()] == ["file"]
    return json.loads(ran.stdout)


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
def test_nothing_is_written_where_no_rule_allows_it(seen: dict[str, Any]) -> None:
    refused = {name for name, number in seen.items() if number in {errno.EACCES, errno.EXDEV}}
    expected = NOTHING_LEAVES - (set() if landlock.abi() >= 3 else {"truncate"})
    assert expected <= refused
    assert {seen[name] for name in ("read", "device", "write own", "rename own")} == {0}


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock knows no scopes")
def test_nobody_outside_is_signalled_or_spoken_to(seen: dict[str, Any]) -> None:
    assert (seen["kill"], seen["abstract"]) == (errno.EPERM, errno.EPERM)


def test_a_kernel_without_landlock_goes_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    landlock.Landlock({}, {"/nowhere": landlock.ANYTHING}).install()
    (tmp_path / "written").touch()
