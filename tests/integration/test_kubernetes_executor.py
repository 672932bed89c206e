"""With the rights that a cluster gives an executor the process sandbox isolates; with fewer it refuses.

The rights are those of the rendered pod, put into practice by runc, as a cluster's machines do.
"""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from crucible.models import Observation, Outcome
from executors.sandbox.process.sandbox import WITHOUT_CGROUPS
from tests.support.kubernetes.container import run
from tests.support.kubernetes.rendering import rendered
from tests.support.kubernetes.secret import told
from tests.support.kubernetes.workloads import Workload, workloads

ROOT = Path(__file__).parents[2]
INTERPRETER = "/usr/bin/python3"
ORDER = {
    "language": "python",
    "code": "import os, socket; print(os.getuid(), os.listdir('/box'), socket.gethostname())",
}

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("runc") is None, reason="takes root and runc, which comes with Docker"
)

Execute = Callable[[Workload], Observation]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into: users of the container are nobody here."""
    folder = Path(tempfile.mkdtemp(prefix="crucible-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def execute(open_folder: Path) -> Execute:
    """Runs a program by the executor's own code in a container with the rights of a workload."""
    packages = sysconfig.get_path("purelib")
    probe = [INTERPRETER, "-c", "import pydantic_core"]
    if subprocess.run(probe, env={"PYTHONPATH": packages}, capture_output=True, check=False).returncode:
        pytest.skip(f"{INTERPRETER} cannot use the installed packages")
    for package in ("crucible", "executors"):
        shutil.copytree(ROOT / package, open_folder / "source" / package)

    def run_once(workload: Workload) -> Observation:
        environment = {
            **told(workload),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": "/opt/source:/opt/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        shown = {"/opt/source": open_folder / "source", "/opt/packages": Path(packages)}
        command = [INTERPRETER, "-P", "-m", "executors.run_once"]
        folder = open_folder / "container"
        return Observation.model_validate_json(
            run(workload, command, environment, shown, json.dumps(ORDER), folder)
        )

    return run_once


def test_the_pod_s_rights_are_enough(execute: Execute) -> None:
    seen = execute(executor())
    assert (seen.outcome, seen.isolation_level) == (Outcome.OK, WITHOUT_CGROUPS), seen.detail
    assert seen.stdout == b"1000 ['main.py'] crucible\n"


def test_a_proc_that_hides_something_is_too_little_and_nothing_is_run(execute: Execute) -> None:
    def mask(container: dict[str, Any]) -> None:
        del container["securityContext"]["procMount"]

    seen = execute(executor(mask))
    assert seen.outcome is Outcome.SANDBOX_ERROR
    assert seen.detail is not None
    assert "SANDBOX_UNAVAILABLE" in seen.detail
    assert seen.stdout == b""


def executor(change: Callable[[dict[str, Any]], None] | None = None) -> Workload:
    """executor-1, with its container changed."""
    workload = workloads(rendered())["executor-1"]
    resource = deepcopy(workload.resource)
    if change is not None:
        change(resource["spec"]["template"]["spec"]["containers"][0])
    return Workload(resource, workload.environment)
