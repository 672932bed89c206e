"""An API that is killed with evaluations in hand: the one that comes after it goes on with them."""

import os
import signal
import time

import httpx
import pytest

from deployments.stack import StackState
from tests.support.command_line import CommandLine
from tests.support.stacks import bearer, client_of

pytestmark = pytest.mark.stack

_WITHIN_S = 240.0
_SLOW = "import time; time.sleep(2); print('late')"


def test_what_an_api_had_in_hand_when_it_was_killed_is_answered_by_its_successor(
    crucible: CommandLine,
) -> None:
    state = crucible.state()
    orders = [{"id": f"in-hand-{n}", "language": "python", "code": _SLOW} for n in range(8)]
    states = posted(state, orders)

    pid = next(each.pid for each in state.services if each.name == "api")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    for each in states:
        found = settled(state, each["id"])
        assert (found["classification"], found["answered_by"]) == ("match", "legacy")


def posted(state: StackState, orders: list[dict[str, str]]) -> list[dict[str, str]]:
    with client_of(state) as client:
        answer = client.post("/evaluations", json=orders)
    assert answer.status_code == 202, answer.text
    states: list[dict[str, str]] = answer.json()
    return states


def settled(state: StackState, evaluation_id: str) -> dict[str, str]:
    """The evaluation once it has its column; the API is away for a while."""
    deadline = time.monotonic() + _WITHIN_S
    url = f"{state.api_url}/evaluations/{evaluation_id}"
    while time.monotonic() < deadline:
        try:
            found: dict[str, str] = httpx.get(url, headers=bearer(state), trust_env=False).json()
        except httpx.TransportError:
            found = {}
        if found.get("status") == "settled":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{evaluation_id} has no column after {_WITHIN_S:g} s")
