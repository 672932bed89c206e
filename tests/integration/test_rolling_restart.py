"""Every service is stopped and comes back, one after the other, under load: what an upgrade does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deployments.stack import ServiceState, StackState
from tests.support.command_line import CommandLine
from tests.support.stacks import client_of
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

IN_ORDER = (
    *("executor-1", "executor-2", "executor-3", "legacy-worker-1", "legacy-worker-2", "celery-worker"),
    *("flows", "flower", "api", "gateway", "prefect", "celery-redis", "redis"),
)
"""In any order: whoever is away is waited for."""
PROGRAM = {"language": "python", "code": "import time; time.sleep(0.1); print('whole')"}
AT_ONCE = 2
PAUSE_S = 1.0


class Traffic:
    """Evaluations that go on being submitted, a few at a time; those that were taken must all be answered."""

    def __init__(self, state: StackState) -> None:
        self._state = state
        self._stopping = threading.Event()
        self.taken: list[str] = []

    def run(self) -> None:
        """Submit until told to stop; a request that gets no answer is sent again as it was."""
        number = 0
        while not self._stopping.wait(PAUSE_S):
            number += 1
            while not self._submitted(number) and not self._stopping.wait(PAUSE_S):
                pass

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopping.set()

    def client(self) -> httpx.Client:
        """A client of the API itself."""
        return client_of(self._state, 30)

    def _submitted(self, number: int) -> bool:
        again = {"Idempotency-Key": f"rolling-{number}"}
        try:
            with self.client() as api:
                answer = api.post("/evaluations", json=[PROGRAM] * AT_ONCE, headers=again)
        except httpx.TransportError:
            return False
        if answer.is_error:
            assert answer.status_code in {429, 503}, answer.text
            return False
        self.taken += [each["id"] for each in answer.json()]
        return True


@contextmanager
def traffic(state: StackState) -> Iterator[Traffic]:
    """Traffic in a thread of its own, as long as it is needed."""
    made = Traffic(state)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()


def test_nothing_is_lost_when_each_service_is_restarted_under_load(crucible: CommandLine) -> None:
    state = crucible.state()
    assert {*IN_ORDER} == {each.name for each in state.services}
    with traffic(state) as sent:
        for name in IN_ORDER:
            restart(crucible, name)
            so_far = len(sent.taken)
            patiently(lambda: len(sent.taken) > so_far)  # noqa: B023 (waited for here)
    with sent.client() as api:
        lost = list(sent.taken)

        def are_settled() -> bool:
            lost[:] = [each for each in lost if api.get(f"/evaluations/{each}").json()["status"] != "settled"]
            return not lost

        patiently(are_settled)
        ends = [api.get(f"/evaluations/{each}").json() for each in sent.taken]
    assert [each for each in ends if each["classification"] != "match"] == []
    assert len({*sent.taken}) == len(sent.taken) >= AT_ONCE * len(IN_ORDER)


def restart(crucible: CommandLine, name: str) -> None:
    """Ask a service to end, as an upgrade does, and wait until its successor is ready."""
    before = crucible.pid_of(name)
    os.kill(before, signal.SIGTERM)

    def is_back() -> bool:
        service = crucible.service(name)
        return service.state is ServiceState.READY and service.pid not in {before, None}

    patiently(is_back)
