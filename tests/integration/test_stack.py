"""A stack of small real services: what comes up, what is kept up, and that nothing is ever left behind."""

import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from crucible.errors import StackError
from crucible.settings import Settings
from deployments.stack import ServiceState, StackState, attach, read_state, running_stack, stop_stack
from deployments.stack.home import Home, is_held
from deployments.stack.supervisor import Supervisor
from tests.support.small_stack import PATIENCE_S, WORKERS_NICENESS, StackProcess, small_plan

pytestmark = pytest.mark.stack

Start = Callable[..., StackProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes with a stack each, of the same home unless told otherwise."""
    started: list[StackProcess] = []

    def start_one(how: str = "serve", home: Path = tmp_path / "home", **environment: str) -> StackProcess:
        started.append(StackProcess(home, how, **environment))
        return started[-1]

    yield start_one
    for each in started:
        each.clear()


def test_all_services_are_ready_when_the_stack_is_up(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    state = state_of(stack)
    assert {service.name: service.state for service in state.services} == {
        "redis": ServiceState.READY,
        "web": ServiceState.READY,
        "worker": ServiceState.READY,
    }
    assert all(psutil.pid_exists(service.pid or 0) for service in state.services)
    assert (state.pid, state.ephemeral) == (stack.process.pid, False)


def test_a_service_stands_back_for_others_as_far_as_it_was_told_and_with_all_it_starts(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    worker = psutil.Process(pid_of(state_of(stack), "worker"))
    ours = psutil.Process().nice()
    assert [each.nice() - ours for each in (worker, *worker.children())] == [WORKERS_NICENESS] * 2
    assert psutil.Process(pid_of(state_of(stack), "web")).nice() == ours


def test_the_state_and_the_password_can_be_read_by_their_owner_alone(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    for path in (stack.home / "stack.json", stack.home / "redis" / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in " ".join(word for each in stack.family for word in each.cmdline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_stack_stops_everything(start: Start, number: signal.Signals) -> None:
    stack = start()
    stack.wait_until_up()
    stack.process.send_signal(number)
    assert stack.ended() == 0
    assert stack.survivors() == []
    assert read_state(stack.home) is None


def test_a_killed_stack_leaves_nothing_running_and_the_home_can_be_used_again(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    stack.process.kill()
    assert stack.survivors() == []
    assert (stack.home / "stack.json").exists()
    assert read_state(stack.home) is None
    again = start()
    again.wait_until_up()
    assert state_of(again).pid == again.process.pid


async def test_down_ends_the_stack_and_all_that_belongs_to_it(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    assert await stop_stack(Home.at(stack.home), PATIENCE_S) == stack.process.pid
    assert not is_held(Home.at(stack.home))
    assert stack.ended() == 0
    assert stack.survivors() == []


async def test_down_with_nothing_up_does_nothing(tmp_path: Path) -> None:
    assert await stop_stack(Home.at(tmp_path), PATIENCE_S) is None


def test_a_second_stack_of_the_same_home_says_that_one_is_running(start: Start) -> None:
    first = start()
    first.wait_until_up()
    second = start()
    assert "AlreadyRunning" in second.rest()
    assert state_of(first).pid == first.process.pid


async def test_a_stack_that_is_up_is_shared_and_left_up(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    async with running_stack(settings_of(stack.home)) as state:
        assert state.pid == stack.process.pid
    assert state_of(stack) == state


async def test_a_service_that_is_killed_is_started_again(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    before = pid_of(state_of(stack), "worker")
    helpers = psutil.Process(before).children()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: is_ready_again(state_of(stack), "worker", before))
    assert psutil.wait_procs(helpers, timeout=PATIENCE_S)[1] == []
    assert "worker was killed by SIGKILL" in (stack.home / "logs" / "worker.log").read_text()


def test_a_service_that_dies_at_the_start_is_reported_with_its_last_words(start: Start) -> None:
    stack = start(DIES="1")
    said = stack.rest()
    assert "StackError: worker ended with exit code 1" in said
    assert "no such table: evaluations" in said
    assert str(stack.home / "logs" / "worker.log") in said
    assert len(said.splitlines()) == 1
    assert not is_held(Home.at(stack.home))


def test_a_service_that_is_not_ready_in_time_is_named(start: Start) -> None:
    # Long enough for the others, without which it would not be the only one.
    stack = start(NEVER_READY="1", CRUCIBLE_START_TIMEOUT_S="15")
    assert "not ready within 15 s: worker" in stack.rest()


def test_an_own_stack_is_stopped_when_its_body_fails(start: Start) -> None:
    stack = start("fail")
    stack.wait_until_up()
    assert "LookupError: the body failed" in stack.rest()
    assert stack.survivors() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_own_stack_is_stopped_by_a_signal(start: Start, number: signal.Signals, code: int) -> None:
    stack = start("own")
    stack.wait_until_up()
    stack.process.send_signal(number)
    assert stack.ended() == code
    assert stack.survivors() == []
    assert not (stack.home / "stack.json").exists()


def test_an_own_stack_is_stopped_by_ctrl_c(start: Start) -> None:
    stack = start("own")
    stack.wait_until_up()
    stack.process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in stack.rest()
    assert stack.survivors() == []


async def test_the_own_stack_of_one_command_is_not_shared_with_another(start: Start) -> None:
    stack = start("own")
    stack.wait_until_up()
    with pytest.raises(StackError, match=rf"process {stack.process.pid} .*CRUCIBLE_HOME"):
        await attach(Home.at(stack.home), PATIENCE_S)
    with pytest.raises(StackError, match=f"process {stack.process.pid}"):
        await stop_stack(Home.at(stack.home), PATIENCE_S)
    assert "StackError" in start("own").rest()


def test_stacks_of_two_homes_run_side_by_side(start: Start, tmp_path: Path) -> None:
    one = start()
    one.wait_until_up()
    other = start(home=tmp_path / "other")
    other.wait_until_up()
    assert state_of(one).api_url != state_of(other).api_url


async def test_a_service_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUBBORN", "1")
    home = Home.at(tmp_path)
    home.create()
    before = set(psutil.Process().children(recursive=True))
    supervisor = Supervisor(
        small_plan(settings_of(tmp_path), home).services, home, lambda *_change: None, grace_s=0.2
    )
    await supervisor.start(PATIENCE_S)
    started = set(psutil.Process().children(recursive=True)) - before
    await supervisor.stop()
    assert psutil.wait_procs(started, timeout=PATIENCE_S)[1] == []


async def test_an_own_stack_ends_with_its_block_inside_a_living_process(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    async with running_stack(settings_of(tmp_path), make_plan=small_plan) as state:
        started = set(psutil.Process().children(recursive=True)) - before
        assert {pid_of(state, name) for name in ("redis", "web", "worker")} <= {each.pid for each in started}
    assert psutil.wait_procs(started, timeout=PATIENCE_S)[1] == []
    assert read_state(tmp_path) is None


def test_the_ports_of_a_stack_are_free_again_after_it(start: Start) -> None:
    stack = start()
    stack.wait_until_up()
    port = int(state_of(stack).api_url.rpartition(":")[2])
    stack.process.send_signal(signal.SIGTERM)
    stack.ended()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def settings_of(home: Path) -> Settings:
    return Settings(home=home)


def state_of(stack: StackProcess) -> StackState:
    state = read_state(stack.home)
    assert state is not None
    return state


def pid_of(state: StackState, name: str) -> int:
    pid = next(service.pid for service in state.services if service.name == name)
    assert pid is not None
    return pid


def is_ready_again(state: StackState, name: str, before: int) -> bool:
    service = next(service for service in state.services if service.name == name)
    return service.state is ServiceState.READY and service.pid != before


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition has not come true"
        time.sleep(0.02)
