"""Two controllers on one store: each duty is one's, nothing is done twice, and each goes on for the other."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.support.api_process import ProcessBeside, environment_of
from tests.support.command_line import CommandLine
from tests.support.stacks import client_of, stack_up
from tests.support.stores import rows, stand_still
from tests.support.waiting import patiently
from tests.support.webhook import Receiver

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

DIFFERS = "import time; print('at', time.tzname)"
DIFFERS_CRITICALLY = "import sys, time; sys.exit(time.tzname[0] == 'JST')"
AGREES = "print('agreed')"
WITH_CHECKPOINT = ("alarm", "changes", "noise")
"""Duties that note at first what was before them."""

SETTINGS = {
    "FLOW_LEASE_S": "3",
    "GATE_NOISE_SHARE": "1",
    "GATE_SENTINEL_EVERY_S": "3600",
    "WEBHOOK_SECRET": "a long random text",
    "WEBHOOK_ALLOW_PRIVATE": "true",
}


class Stack:
    """A stack, whose ``flows`` is a controller, and another controller beside it."""

    def __init__(self, command_line: CommandLine, other: ProcessBeside, receiver: Receiver) -> None:
        self.command_line, self.other, self.receiver = command_line, other, receiver
        self.home = command_line.home
        self._client = client_of(command_line.state())

    def evaluate(self, code: str) -> dict[str, Any]:
        """Somebody posts a program and waits."""
        body = {"language": "python", "code": code}
        answer: httpx.Response = self._client.post("/evaluations?wait=60", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def change(self, *words: str) -> None:
        """Somebody changes the rollout."""
        done = self.command_line.run("rollout", "set", *words, "--force", "--reason", "test")
        assert done.code == 0, done.stderr

    def owners(self) -> set[str | None]:
        """Who has duties."""
        return {owner for (owner,) in rows(self.home, "SELECT owner FROM duty_leases")}

    def number(self, query: str) -> int:
        """A number in the store."""
        ((found,),) = rows(self.home, query)
        return int(found or 0)

    def sentinels(self) -> int:
        """How many were sent."""
        return self.number("SELECT count(*) FROM evaluations WHERE reference IS NOT NULL")

    def has_noted_all_deliveries(self) -> bool:
        """Whether nobody would post again what was posted, as who ends before its checkpoint rightly does."""
        ((checkpoint,),) = rows(self.home, "SELECT checkpoint FROM duty_leases WHERE duty = 'alarm'")
        return json.loads(checkpoint)["undelivered"] == []

    def close(self) -> None:
        """Closes the client."""
        self._client.close()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The other controller comes when the one of the stack has all duties."""
    receiver = Receiver()
    settings = {**SETTINGS, "WEBHOOK_URL": receiver.url}
    with stack_up(tmp_path / "home", **settings, EXECUTOR_3_TZ="Asia/Tokyo") as command_line:
        state = command_line.state()
        mine = {f"CRUCIBLE_{name}": value for name, value in settings.items()}
        environment = environment_of(state, command_line.home) | mine
        begun = "SELECT duty FROM duty_leases WHERE checkpoint IS NOT NULL"
        patiently(lambda: len(rows(command_line.home, begun)) == len(WITH_CHECKPOINT))
        other = ProcessBeside("flows.controller", environment | {"CRUCIBLE_HOME": str(tmp_path / "other")})
        try:
            other.wait_until_ready()
            made = Stack(command_line, other, receiver)
            yield made
            made.close()
        finally:
            other.close()
            receiver.close()


def test_two_controllers_do_each_duty_once_and_each_takes_over_from_the_other(stack: Stack) -> None:
    (first,) = stack.owners()

    confirmed = stack.evaluate(DIFFERS)
    assert (confirmed["classification"], confirmed["comparison"]["reruns"]) == ("mismatch", 3)

    stack.change("--stage", "canary", "--share", "100")
    stack.evaluate(DIFFERS_CRITICALLY)
    patiently(lambda: bool(stack.receiver.posted) and stack.has_noted_all_deliveries())

    flows = stack.command_line.pid_of("flows")
    stand_still(stack.home, flows)
    patiently(lambda: first not in stack.owners())
    (second,) = stack.owners()
    stack.change("--new-epoch", "--stage", "shadow")
    confirmed = stack.evaluate(DIFFERS)
    assert (confirmed["classification"], confirmed["comparison"]["reruns"]) == ("mismatch", 3)

    stack.evaluate(AGREES)
    stack.change("--stage", "celery")
    patiently(lambda: stack.sentinels() == 1)
    os.kill(flows, signal.SIGCONT)
    stack.other.kill()
    patiently(lambda: second not in stack.owners())
    assert len(stack.owners()) == 1

    stack.evaluate(AGREES)
    patiently(nothing_open(stack))
    assert [json.loads(each.body)["event"] for each in stack.receiver.posted] == ["rollback"]
    assert stack.sentinels() == 1
    versions = [each["version"] for each in changes(stack)]
    assert sorted(set(versions)) == sorted(versions)
    runs = stack.number("SELECT count(*) FROM observations WHERE run = 100")
    assert runs == 4, "of all that both legs ran"
    assert stack.number("SELECT sum(number) FROM counters WHERE name = 'noise:reruns'") == runs
    assert stack.command_line.run("rollout", "verify").code == 0


def nothing_open(stack: Stack) -> Callable[[], bool]:
    """Whether all is settled, and noise is counted."""
    return lambda: (
        stack.number("SELECT count(*) FROM evaluations WHERE classification IS NULL") == 0
        and stack.number("SELECT count(*) FROM observations WHERE run = 100") >= 4
    )


def changes(stack: Stack) -> list[dict[str, Any]]:
    """The events on changes of the rollout."""
    with redis.Redis.from_url(stack.command_line.state().redis_url) as client:
        entries: Any = client.xrange("crucible:events")
    return [json.loads(fields[b"data"]) for _, fields in entries if fields[b"kind"] == b"rollout.changed"]
