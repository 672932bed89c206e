"""An executor of the composition that is given Docker's socket runs programs in containers beside its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executors.sandbox.docker.owner import NAME_LABEL
from tests.support.composition import Composition, composition
from tests.support.docker_daemon import build_images
from tests.support.machine import locked

NAME = "executor-1"

ASK = """
import json, pathlib, sys, urllib.request
token = pathlib.Path("/run/secrets/crucible_executor_token").read_text().strip()
order = {"id": sys.argv[1], "language": "python", "code": "print(6 * 7)"}
request = urllib.request.Request("http://127.0.0.1:8100/execute", json.dumps(order).encode())
request.add_header("Authorization", f"Bearer {token}")
request.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(request).read().decode())
"""


@pytest.fixture(scope="module")
def running(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """One executor, up and healthy."""
    assert images
    build_images("script")
    folder = tmp_path_factory.mktemp("sandbox") / "secrets"
    # Tests count the containers of all executors of this name.
    with locked(NAME), composition(folder, NAME, overlays=("docker-sandbox",)) as made:
        yield made


def asked(running: Composition, run_id: str) -> dict[str, Any]:
    """What the executor has seen of a program."""
    done = running.containers()[NAME].exec_run(["python", "-c", ASK, run_id])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def warm(running: Composition) -> set[str]:
    """Containers that wait for a program of this executor, or have one."""
    # Not by objects: to make one Docker is asked again, and a container may be gone by then.
    found = running.docker.api.containers(all=True, filters={"label": f"{NAME_LABEL}={NAME}"})
    return {each["Id"] for each in found}


def test_programs_run_in_containers_of_their_own(running: Composition) -> None:
    seen = asked(running, "first.0")
    assert (seen["outcome"], seen["isolation_level"]) == ("ok", "containers+cgroups+seccomp")


def test_the_executor_can_do_nothing_but_speak_to_the_daemon(running: Composition) -> None:
    status = Path(f"/proc/{running.first_process(NAME)}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status


def test_what_an_executor_that_died_has_left_is_removed_by_the_next(running: Composition) -> None:
    running.wait(lambda: warm(running), "no container waits")
    left = warm(running)
    running.recovered(NAME, running.kill(NAME))
    assert asked(running, "second.0")["outcome"] == "ok"
    assert warm(running) & left == set()


def test_stopped_in_good_order_it_leaves_none(running: Composition) -> None:
    running.run("stop", "--timeout", "30")
    assert warm(running) == set()
