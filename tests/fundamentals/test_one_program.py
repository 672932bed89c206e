"""Read this second: one program in a sandbox, as ``crucible execute`` runs it."""

import json
import subprocess
import sys

from crucible.models import Observation, Outcome


def run(language: str, code: str, **others: object) -> Observation:
    order = json.dumps({"language": language, "code": code, **others}).encode()
    done = subprocess.run(
        [sys.executable, "-m", "executors.run_once"], input=order, capture_output=True, check=True
    )
    return Observation.model_validate_json(done.stdout)


def test_what_a_program_writes_comes_back_as_it_is() -> None:
    seen = run("python", "import sys; sys.stdout.buffer.write(bytes(range(256)))")
    assert seen.outcome is Outcome.OK
    assert seen.stdout == bytes(range(256))


def test_an_exit_code_is_no_signal_even_if_it_looks_like_one() -> None:
    exited = run("bash", "exit 137")
    assert (exited.outcome, exited.exit_code, exited.signal) == (Outcome.NONZERO_EXIT, 137, None)

    killed = run("bash", "kill -KILL $$")
    assert (killed.outcome, killed.exit_code, killed.signal) == (Outcome.SIGNALLED, None, "SIGKILL")


def test_a_program_that_does_not_end_is_ended_and_keeps_what_it_wrote() -> None:
    code = "import time; print('before', flush=True); time.sleep(60)"
    seen = run("python", code, limits={"wall_s": 0.5})
    assert seen.outcome is Outcome.WALL_LIMIT
    assert seen.stdout == b"before\n"


def test_there_is_no_network() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    seen = run("python", code)
    assert seen.outcome is Outcome.NONZERO_EXIT
    assert b"unreachable" in seen.stderr


def test_every_observation_says_how_the_program_was_isolated() -> None:
    assert "namespaces" in run("python", "").isolation_level
