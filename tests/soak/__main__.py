"""``python -m tests.soak``: mixed load for an hour while services are killed, and what has grown by then."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated

import pytest
import typer

from tests.soak.load import Load
from tests.soak.samples import Sample, look
from tests.soak.verdict import Growth, growth
from tests.support.command_line import CommandLine
from tests.support.docker_daemon import build_images, docker_daemon
from tests.support.stacks import stack_up

_LOOK_EVERY_S = 10.0
_KILL_EVERY_S = 45.0
_ENDS_WITHIN_S = 300.0
_PRUNE_EVERY_S = 120.0
_KEPT_DAYS = 8 / (24 * 60)
_SETTINGS = {
    "FLOW_RESULT_TTL_S": "120",  # much less than an hour: keys of what was answered go while this looks on
    "EXECUTOR_2_SANDBOX": "docker",
}
KILLED = (
    *("executor-1", "executor-2", "executor-3", "legacy-worker-1", "legacy-worker-2", "celery-worker"),
    *("flows", "flower", "api", "gateway", "prefect", "redis", "celery-redis"),
)
_ALLOWED = {("match", "match"), ("cancelled", "cancelled"), ("cancelled", "match")}
"""As it had to end, and has: what sleeps may have ended before a killed API could be asked to cancel it."""


def main(
    *,
    minutes: Annotated[float, typer.Option(min=1, help="How long the load goes on.")] = 60,
    seed: Annotated[int, typer.Option(help="Decides what is sent and who is killed.")] = 7,
    chaos: Annotated[bool, typer.Option(help="Kill services meanwhile.")] = True,
) -> None:
    """Put mixed load on a real local stack, kill a service every 45 s, and look what grows.

    One executor has the Docker sandbox; evaluations are let go after eight minutes. Half of the services are
    killed in the first half of the time and the others in the second, so that each is seen to run long.
    Exit 0 when everything that was taken has ended as it must, nothing has grown and nothing is left at the
    end; else 1.
    """
    try:
        sys.exit(_soak(60 * minutes, seed, chaos=chaos))
    except pytest.skip.Exception as reason:
        sys.exit(f"cannot soak: {reason}")


def _soak(seconds: float, seed: int, *, chaos: bool) -> int:
    with (
        TemporaryDirectory(prefix="crucible-soak-") as name,
        _executor_in_docker(),
        stack_up(Path(name) / "home", **_SETTINGS) as line,
    ):
        load = Load(line.state(), seed)
        load.start()
        try:
            samples = list(_watched(line, seconds, Random(seed) if chaos else None))
        finally:
            load.stop()
        wrong = list(_wrong(load))
    found = list(growth(samples))
    _say(f"\nevaluations, as they had to end and did: {dict(load.ends)}; sweeps: {dict(load.verdicts)}")
    for each in found:
        _say(_row(each))
    for said in wrong:
        _say(f"wrong: {said}")
    return 1 if wrong or any(each.is_too_much for each in found) else 0


@contextmanager
def _executor_in_docker() -> Iterator[None]:
    with docker_daemon() as address, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DOCKER_HOST", address)
        build_images("script")
        yield


def _watched(line: CommandLine, seconds: float, chance: Random | None) -> Iterator[Sample]:
    began = time.monotonic()
    kill_at, prune_at = _KILL_EVERY_S, _PRUNE_EVERY_S
    halves = _halves(chance) if chance else ()
    while (past := time.monotonic() - began) < seconds:
        time.sleep(_LOOK_EVERY_S)
        if chance and past >= kill_at:
            kill_at += _KILL_EVERY_S
            _kill(line, chance.choice(halves[int(past >= seconds / 2)]))
        if past >= prune_at:
            prune_at += _PRUNE_EVERY_S
            _prune(line)
        sample = look(line.state(), line.home)
        memory = sum(each.memory_mb for each in sample.services.values())
        stores = {name: round(size, 1) for name, size in sample.stores.items()}
        _say(f"{past:6.0f} s: {memory:5.0f} MiB, keys {dict(sample.keys)}, on disk {stores}")
        yield sample


def _halves(chance: Random) -> tuple[list[str], list[str]]:
    mixed = chance.sample(KILLED, len(KILLED))
    return mixed[::2], mixed[1::2]


def _kill(line: CommandLine, name: str) -> None:
    pid = line.service(name).pid
    if pid is not None:
        _say(f"killing {name}")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _prune(line: CommandLine) -> None:
    done = line.run("store", "prune", "--days", f"{_KEPT_DAYS}", "--json")
    _say(f"prune: exit {done.code}, {done.stdout.strip() or done.stderr.strip()}")


def _wrong(load: Load) -> Iterator[str]:
    if load.failure is not None:
        yield f"an answer that should not be: {load.failure}"
    if unended := load.unended(_ENDS_WITHIN_S):
        yield f"{len(unended)} have not ended, among them {unended[:5]}"
    for (wanted, end), number in load.ends.items():
        if (wanted, end) not in _ALLOWED:
            yield f"{number} evaluations that had to end as {wanted} are {end}"
    if not load.ends:
        yield "no evaluation has ended"


def _row(each: Growth) -> str:
    sign = "  GROWN" if each.is_too_much else ""
    return f"{each.who:16} {each.what:12} {each.before:9.1f} {each.after:9.1f}{sign}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
