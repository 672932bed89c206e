"""Breakers over processes, on a real server: when they open, who probes, and what holds without Redis."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from crucible.errors import CircuitOpen, ExecutorUnavailable, InputError
from crucible.settings import BreakerSettings
from executors.client import ExecutorClient
from tasks.resilience.breaker import Breaker, Breakers, KeptCircuit, breakers, circuit_key
from tasks.resilience.circuit import Circuit
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
    client, key = server.client(), circuit_key(name)
    circuit = Circuit.read(client.get(key))
    circuit.open_until_ms = 1
    client.set(key, circuit.write())


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


def test_outcomes_of_threads_and_processes_at_once_are_all_counted(valkey: Valkey, name: str) -> None:
    rules, together = LONG, threading.Barrier(4)
    circuits = [KeptCircuit(name, rules, valkey.client()) for _ in range(2)]

    def record(circuit: KeptCircuit) -> None:
        together.wait()
        for _ in range(50):
            circuit.change(lambda kept, now_ms: kept.record(now_ms, rules, "", 3, 1, 1.0))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(record, circuits * 2))
    (state,) = breakers(valkey.client(), [name], LONG.window_s)
    assert (state.failures, state.volume) == (200, 800)


def test_of_many_that_ask_at_once_one_probes(valkey: Valkey, name: str) -> None:
    gates, together = [breaker(valkey, name) for _ in range(4)], threading.Barrier(8)
    fails(gates[0], 10)
    let_time_pass(valkey, name)

    def ask(gate: Breaker) -> str:
        together.wait()
        try:
            return gate.admit()
        except CircuitOpen:
            return ""

    with ThreadPoolExecutor(8) as threads:
        tickets = [ticket for ticket in threads.map(ask, gates * 2) if ticket]
    assert len(tickets) == 1


def test_it_goes_by_the_clock_of_the_server(valkey: Valkey, name: str) -> None:
    seen: list[int] = []
    KeptCircuit(name, LONG, valkey.client()).change(lambda _, now_ms: seen.append(now_ms))
    seconds, microseconds = valkey.client().time()
    assert abs(seen[-1] - seconds * 1000 - microseconds // 1000) < 60_000, "and not by one that began at boot"


def test_a_closed_one_asks_redis_once_for_many_calls(valkey: Valkey, name: str) -> None:
    gate, client = breaker(valkey, name), valkey.client()
    gate.leave(gate.admit(), "answered")
    client.config_resetstat()
    began = time.monotonic()
    for _ in range(1000):
        gate.leave(gate.admit(), "answered")
    tenths = (time.monotonic() - began) / 0.1
    asked = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})
    assert asked["calls"] <= tenths + 2


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
