"""The whole migration on a real stack under traffic, and the way back from each stage."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import stores
from tests.support.command_line import PATIENCE_S

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent


def test_a_fault_at_any_stage_turns_the_migration_back_and_no_answer_is_lost_or_wrong_after_it(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-m", "bench.drill", "--short", "--json"]
    environment = {**os.environ, "CRUCIBLE_START_TIMEOUT_S": str(PATIENCE_S)}
    if stores.on_postgres():
        environment["CRUCIBLE_DATABASE_URL"] = stores.keep_in_postgres(tmp_path)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]

    found = json.loads(done.stdout)
    assert [each["stage"] for each in found["strikes"]] == ["celery", "shadow", "canary", "live"]
    assert all(each["spoiled"] for each in found["strikes"]), "every fault was felt"
    assert found["by_celery"] > 0
    assert (found["lost"], found["wrong_after"], found["faults_in_books"]) == ([], 0, [])
    for each in found["strikes"]:
        sys.stdout.write(f"{each['stage']}: {each['fault']}, rolled back after {each['seconds']:.2f} s\n")
