"""Breakers over processes, on a real server: when they open, who probes, and what holds without Redis."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.errors import CircuitOpen, ExecutorUnavailable, InputError
from crucible.settings import BreakerSettings
from executors.client import ExecutorClient
from tasks.resilience.breaker import Breaker
from tasks.resilience.breakers import Breakers
from tasks.resilience.circuit import Circuit, Rules
from tasks.resilience.shared import SharedCircuit, breakers, circuit_key
from tests.support import breaker_worker
from tests.support.breaker_worker import NAME, REFUSED
from tests.support.stub_executor import TOKEN, StubExecutor
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

LONG = BreakerSettings(open_s=60)
SHORT = {"open_s": "0.5", "longest_open_s": "0.5", "probe_s": "2"}
REFUSALS = 250
"""A worker that is refused so often, with a hundredth of a second in between, has asked for longer than the
place of a probe is kept that is not renewed."""
WORKERS = 8
NUMBERS = count()
MakeClient = Callable[..., ExecutorClient]


@pytest.fixture
def stub() -> Iterator[StubExecutor]:
    """An executor that listens."""
    executor = StubExecutor()
    executor.start()
    yield executor
    executor.stop()


@pytest.fixture
def name() -> str:
    """A dependency nobody has called yet."""
    return f"dependency-{next(NUMBERS)}"


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server that a test may stop."""
    server = Valkey()
    server.start()
    yield server
    server.remove()


OPENED: list[Breakers] = []


@pytest.fixture(autouse=True)
def closed_at_the_end() -> Iterator[None]:
    """Closes what ``breaker`` opened."""
    yield
    while OPENED:
        OPENED.pop().close()


def breaker(server: Valkey, name: str, settings: BreakerSettings = LONG) -> Breaker:
    """The breaker of ``name`` as another process has it."""
    OPENED.append(Breakers(server.url, settings, {}))
    return OPENED[-1].shared(name)


def fails(gate: Breaker, times: int = 1) -> None:
    """Has calls fail."""
    for _ in range(times):
        gate.leave(gate.admit(), "failed")


def is_shut(gate: Breaker) -> bool:
    """Whether it turns a call away; one that it lets pass tells nothing."""
    try:
        gate.leave(gate.admit(), "unknown")
    except CircuitOpen:
        return True
    return False


def let_time_pass(server: Valkey, name: str) -> None:
    """As if it had been open for long enough."""
    server.client().hset(circuit_key(name), "until", "1")


def test_it_opens_at_the_ratio_when_there_were_enough_calls(valkey: Valkey, name: str) -> None:
    gate = breaker(valkey, name)
    fails(gate, 9)
    assert not is_shut(gate)
    fails(gate)
    assert is_shut(gate)


def test_below_the_ratio_it_stays_closed(valkey: Valkey, name: str) -> None:
    gate = breaker(valkey, name)
    for _ in range(30):
        gate.leave(gate.admit(), "answered")
        gate.leave(gate.admit(), "answered")
        fails(gate)
    assert not is_shut(gate)


def test_calls_of_all_processes_count_and_it_opens_for_all(valkey: Valkey, name: str) -> None:
    one, two = breaker(valkey, name), breaker(valkey, name)
    fails(one, 5)
    fails(two, 5)
    assert is_shut(two)
    assert is_shut(breaker(valkey, name))
    assert not is_shut(breaker(valkey, f"other-than-{name}"))


def test_an_open_one_says_who_is_unavailable_and_until_when(valkey: Valkey, name: str) -> None:
    gate = breaker(valkey, name)
    fails(gate, 10)
    with pytest.raises(CircuitOpen, match=f"{name} unavailable: breaker open until .* UTC") as caught:
        gate.admit()
    assert 0 < caught.value.retry_in_s <= 60


def test_one_probe_passes_and_its_success_closes_it_for_all(valkey: Valkey, name: str) -> None:
    one, two = breaker(valkey, name), breaker(valkey, name)
    fails(one, 10)
    let_time_pass(valkey, name)
    ticket = two.admit()
    assert ticket
    assert is_shut(one)
    two.leave(ticket, "answered")
    assert not is_shut(one)


def test_a_probe_that_fails_opens_it_for_longer(valkey: Valkey, name: str) -> None:
    gate = breaker(valkey, name, BreakerSettings(open_s=10))
    fails(gate, 10)
    let_time_pass(valkey, name)
    fails(gate)
    with pytest.raises(CircuitOpen) as caught:
        gate.admit()
    assert 10 < caught.value.retry_in_s <= 20


def test_a_probe_that_tells_nothing_frees_its_place(valkey: Valkey, name: str) -> None:
    gate = breaker(valkey, name)
    fails(gate, 10)
    let_time_pass(valkey, name)
    gate.leave(gate.admit(), "unknown")
    assert gate.admit()


def test_its_state_can_be_read(valkey: Valkey, name: str) -> None:
    gate, client = breaker(valkey, name), valkey.client()
    (state,) = breakers(client, [name], LONG.window_s)
    assert (state.state, state.failures, state.volume, state.open_until) == ("closed", 0, 0, None)
    gate.leave(gate.admit(), "answered")
    fails(gate, 3)
    (state,) = breakers(client, [name], LONG.window_s)
    assert (state.state, state.failures, state.volume) == ("closed", 3, 4)
    fails(gate, 6)
    (state,) = breakers(client, [name], LONG.window_s)
    assert (state.state, state.failures, state.volume, state.probing) == ("open", 9, 10, False)
    let_time_pass(valkey, name)
    ticket = gate.admit()
    (state,) = breakers(client, [name], LONG.window_s)
    assert (state.state, state.probing) == ("half-open", True)
    gate.leave(ticket, "answered")


STEP = st.one_of(
    st.tuples(st.just("calls"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("ask"), st.integers(0, 1), st.integers(0, 1)),
    st.just(("open time is over", 0, 0)),
    st.just(("the probe's process died", 0, 0)),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=40))
def test_a_shared_circuit_and_one_in_memory_do_the_same(valkey: Valkey, steps: list) -> None:
    name, rules, client = f"twin-{next(NUMBERS)}", Rules.of(LONG), valkey.client()
    shared, local, now_ms, probe = SharedCircuit(client, name, rules), Circuit(rules), 0, ""
    for number, (kind, successes, failures) in enumerate(steps):
        if kind == "calls":
            said = shared.record("", successes, failures)
            assert said == local.record(now_ms, "", successes, failures, 1.0)
        elif kind == "ask" and probe:
            assert shared.allow("another").kind == local.allow(now_ms, "another").kind == "wait"
            said = shared.record(probe, successes, failures)
            assert said == local.record(now_ms, probe, successes, failures, 1.0)
            probe = ""
        elif kind == "ask":
            verdict = shared.allow(f"probe-{number}")
            assert verdict.kind == local.allow(now_ms, f"probe-{number}").kind
            probe = f"probe-{number}" if verdict.kind == "probe" else ""
        elif kind == "open time is over" and local.open_until_ms is not None:
            let_time_pass(valkey, name)
            now_ms = max(now_ms, local.open_until_ms)
        elif probe:
            client.delete(f"{circuit_key(name)}:probe")
            now_ms, probe = now_ms + rules.probe_ms, ""


async def test_eight_workers_send_one_probe_at_a_time(own_server: Valkey, stub: StubExecutor) -> None:
    """However long it takes: its place is kept for longer than one whose worker died would be."""
    stub.status = 503
    workers = [breaker_worker.start(own_server.url, stub.url, 1, **SHORT) for _ in range(WORKERS)]
    client = own_server.client()
    try:
        for number in range(1, WORKERS + 1):
            await eventually(lambda number=number: _each_refused(own_server, 1, number))
        stub.hold()
        stub.status = 200
        await eventually(lambda: len(stub.order) > 0)
        client.delete(REFUSED)
        await eventually(lambda: _each_refused(own_server, REFUSALS, WORKERS - 1))
        assert len(stub.order) == 1, "one probe while all others were turned away again and again"
        stub.let_go()
        for worker in workers:
            assert worker.wait(60) == 0
        assert len(stub.order) == WORKERS
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _each_refused(server: Valkey, times: int, workers: int = WORKERS) -> bool:
    refused = server.client().hgetall(REFUSED)
    return len([number for number in refused.values() if int(number) >= times]) >= workers


async def test_a_probe_whose_worker_dies_frees_its_place(own_server: Valkey, stub: StubExecutor) -> None:
    gate = breaker(own_server, NAME, BreakerSettings(probe_s=0.5))
    fails(gate, 10)
    let_time_pass(own_server, NAME)
    stub.hold()
    worker = breaker_worker.start(own_server.url, stub.url, 1, **SHORT)
    try:
        await eventually(lambda: len(stub.order) == 1)
        assert is_shut(gate)
    finally:
        worker.kill()
        worker.wait()
    await eventually(lambda: not is_shut(gate))


async def test_nothing_keeps_a_place_once_they_are_closed(own_server: Valkey, name: str) -> None:
    gate = breaker(own_server, name)
    fails(gate, 10)
    let_time_pass(own_server, name)
    before = set(threading.enumerate())  # some of other tests may be about to end
    assert gate.admit()
    (keeper,) = set(threading.enumerate()) - before
    OPENED.pop().close()
    await eventually(lambda: not keeper.is_alive())


@pytest.fixture
def client_of(valkey: Valkey) -> Iterator[MakeClient]:
    """Makes clients with breakers in front of executors."""
    gates, made = Breakers(valkey.url, LONG, {}), []

    def make(*stubs: StubExecutor) -> ExecutorClient:
        made.append(ExecutorClient([stub.url for stub in stubs], TOKEN, 2.0, 2, gates.of_executor))
        return made[-1]

    yield make
    gates.close()
    for client in made:
        client.close()


def execute(client: ExecutorClient) -> bytes:
    """Has a run executed."""
    return client.execute(f"breaker-{next(NUMBERS)}.0", "python", "print(1)", "", {"wall_s": 10})


def test_a_dead_executor_is_not_asked_any_more_once_it_is_open(
    client_of: MakeClient, stub: StubExecutor
) -> None:
    client, stub.status, failures = client_of(stub), 503, []
    for _ in range(200):
        with pytest.raises((CircuitOpen, ExecutorUnavailable)) as caught:
            execute(client)
        failures.append(caught.type)
    assert stub.posts == LONG.minimum
    assert set(failures[LONG.minimum :]) == {CircuitOpen}


def test_the_other_executor_does_the_work_while_one_is_left_alone(
    client_of: MakeClient, stub: StubExecutor
) -> None:
    other = StubExecutor()
    other.start()
    stub.status = 503
    client = client_of(stub, other)
    for _ in range(60):
        execute(client)
    assert len(other.order) == 60
    assert stub.posts == LONG.minimum
    other.stop()


@pytest.mark.parametrize(("status", "error"), [(422, InputError), (401, ExecutorUnavailable)])
def test_an_executor_that_refuses_requests_is_not_left_alone(
    client_of: MakeClient, stub: StubExecutor, status: int, error: type[Exception]
) -> None:
    client, stub.status = client_of(stub), status
    for _ in range(30):
        with pytest.raises(error):
            execute(client)
    assert stub.posts == 30


def test_an_executor_with_enough_to_do_is_asked_again_but_not_left_alone(
    client_of: MakeClient, stub: StubExecutor
) -> None:
    client, stub.status = client_of(stub), 429
    for _ in range(2):
        with pytest.raises(ExecutorUnavailable, match="429"):
            execute(client)
    stub.status = 200
    execute(client)


def test_an_answer_that_is_no_observation_is_the_executors_fault(
    client_of: MakeClient, stub: StubExecutor
) -> None:
    client, stub.observation = client_of(stub), {"outcome": "fine"}
    with pytest.raises((CircuitOpen, ExecutorUnavailable)):
        execute(client)
    assert 1 < stub.posts <= LONG.minimum


def stopped(server: Valkey) -> Callable[[], None]:
    """Has it hang; returns what lets it go on."""
    os.kill(server.pid, signal.SIGSTOP)
    return lambda: os.kill(server.pid, signal.SIGCONT)


def killed(server: Valkey) -> Callable[[], None]:
    """Has it gone; returns what starts it again, with its data."""
    server.stop()
    return server.start


@pytest.mark.parametrize("away", [stopped, killed])
async def test_without_redis_each_process_goes_on_by_the_same_rules(
    own_server: Valkey, name: str, away: Callable[[Valkey], Callable[[], None]]
) -> None:
    known_open, new = breaker(own_server, f"{name}-open"), breaker(own_server, name)
    fails(known_open, 10)
    assert is_shut(known_open)
    come_back = away(own_server)
    try:
        assert is_shut(known_open), "what was open before stays so"
        fails(new, 9)
        assert not is_shut(new)
        fails(new)
        assert is_shut(new)
    finally:
        come_back()
    await eventually(lambda: not is_shut(new))
    assert is_shut(known_open)
