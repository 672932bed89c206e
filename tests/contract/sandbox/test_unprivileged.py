"""The process sandbox started by a user without any privilege, as a process of its own."""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crucible.models import Observation, Outcome
from executors.sandbox.process.sandbox import WITHOUT_CGROUPS

ROOT = Path(__file__).resolve().parents[3]
INTERPRETER = "/usr/bin/python3"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
LOCKED_UP = ("Cap", "NoNewPrivs", "Seccomp:", "Groups")


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    """A copy of the sources that everyone may read."""
    folder = Path(tempfile.mkdtemp(prefix="crucible-test-"))
    folder.chmod(0o755)
    for package in ("crucible", "executors"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    shutil.rmtree(folder)


def execute(copy: Path, order: dict[str, Any]) -> Observation:
    """One program by ``executors.run_once`` as nobody."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{copy}:{sysconfig.get_path('purelib')}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CRUCIBLE_EXECUTOR_PYTHON": INTERPRETER,
    }
    command = [*(NOBODY if os.geteuid() == 0 else ()), INTERPRETER]
    probe = [*command, "-c", "import pydantic_core"]
    if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
        pytest.skip(f"{INTERPRETER} cannot use the installed packages as another user")
    ran = subprocess.run(
        [*command, "-m", "executors.run_once"],
        input=json.dumps(order).encode(),
        env=environment,
        cwd=copy,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert ran.stderr == b""
    return Observation.model_validate_json(ran.stdout)


pytestmark = pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv here")


async def test_a_user_without_privileges_gets_the_same_isolation(copy: Path) -> None:
    code = (
        "import os, socket\n"
        "print(os.getuid(), os.getpid(), socket.gethostname(), os.listdir('/box'), os.getgroups())\n"
        f"print(*[line for line in open('/proc/self/status') if line.startswith({LOCKED_UP})], sep='')"
    )
    seen = execute(copy, {"language": "python", "code": code})
    assert (seen.outcome, seen.isolation_level) == (Outcome.OK, WITHOUT_CGROUPS)
    first, *status = seen.stdout.decode().split("\n")
    assert first == "1000 2 crucible ['main.py'] []"
    values = dict(line.split(":") for line in status if ":" in line)
    assert {int(value, 16) for name, value in values.items() if name.startswith("Cap")} == {0}
    assert (values["NoNewPrivs"].strip(), values["Seccomp"].strip()) == ("1", "2")


async def test_a_user_without_privileges_gets_the_limits_too(copy: Path) -> None:
    limits = {"memory_mb": 64, "wall_s": 30}
    code = "import time; x = b'x' * (200 << 20); time.sleep(20)"
    seen = execute(copy, {"language": "python", "code": code, "limits": limits})
    assert (seen.outcome, seen.signal) == (Outcome.MEMORY_LIMIT, "SIGKILL")
