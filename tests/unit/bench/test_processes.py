"""CPU time and memory of process trees, on real processes."""

import subprocess
import sys

from bench.figures import usage_of

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
AFTER_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])\nprint(); input()"
WITH_A_CHILD = "import os\nif os.fork() == 0: print(flush=True)\ninput()"


def started(code: str) -> subprocess.Popen[str]:
    """A process that has said a line and waits for its input to end."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


def test_a_tree_keeps_the_time_of_children_that_have_ended():
    with started(AFTER_A_CHILD) as parent:
        assert usage_of({"tree": parent.pid})["tree"].cpu_s >= 0.25


def test_a_tree_counts_the_memory_of_children_that_are_running():
    with started("print(); input()") as single, started(WITH_A_CHILD) as double:
        found = usage_of({"single": single.pid, "double": double.pid})
        assert found["double"].resident_mb > found["single"].resident_mb > 1


def test_a_process_that_is_gone_has_used_nothing():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    found = usage_of({"gone": gone.pid})["gone"]
    assert (found.cpu_s, found.resident_mb) == (0, 0)
