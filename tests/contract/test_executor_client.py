"""The executor's client against a real HTTP server that runs no code."""

from collections.abc import Iterator

import pytest

from crucible.errors import ExecutorUnavailable, InputError, SettingsError
from executors.client import ExecutorClient
from tests.support.stub_executor import TOKEN, StubExecutor

LIMITS: dict[str, object] = {"wall_s": 10}


@pytest.fixture
def stub() -> Iterator[StubExecutor]:
    """An executor that listens."""
    executor = StubExecutor()
    executor.start()
    yield executor
    executor.stop()


@pytest.fixture
def other() -> Iterator[StubExecutor]:
    """Another one."""
    executor = StubExecutor()
    executor.start()
    yield executor
    executor.stop()


def client(*stubs: StubExecutor, token: str = TOKEN, retry_s: float = 2.0) -> ExecutorClient:
    """A client of ``stubs`` in this order."""
    return ExecutorClient([stub.url for stub in stubs], token, retry_s, connections=2)


def execute(caller: ExecutorClient, run_id: str = "a.0") -> bytes:
    """Has ``run_id`` executed."""
    return caller.execute(run_id, "python", "print(1)", "", LIMITS)


def test_an_observation_is_handed_on_byte_for_byte(stub: StubExecutor) -> None:
    assert execute(client(stub)) == stub.answers["a.0"]


def test_the_first_executor_is_preferred(stub: StubExecutor, other: StubExecutor) -> None:
    caller = client(stub, other)
    for number in range(5):
        execute(caller, f"{number}")
    assert (len(stub.order), len(other.order)) == (5, 0)


def test_the_second_executor_takes_over_when_the_first_is_gone(
    stub: StubExecutor, other: StubExecutor
) -> None:
    caller = client(stub, other)
    stub.stop()
    execute(caller)
    assert other.order == ["a.0"]


def test_the_second_executor_takes_over_when_the_first_is_overloaded(
    stub: StubExecutor, other: StubExecutor
) -> None:
    stub.status = 503
    execute(client(stub, other))
    assert other.order == ["a.0"]


@pytest.mark.parametrize("status", [429, 503])
def test_an_executor_that_says_when_to_come_again_is_asked_then_and_not_before(
    stub: StubExecutor, status: int
) -> None:
    stub.status, stub.retry_after, stub.refusals = status, "1", 1
    execute(client(stub, retry_s=0.9))  # its own time is over by then: to wait as asked is no failure
    first, second = stub.asked_at
    assert second - first >= 1


def test_while_one_executor_wants_to_be_left_alone_the_other_is_asked(
    stub: StubExecutor, other: StubExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The longest pauses there may be: with short ones all attempts may be over within the second.
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda _least, most: most)
    stub.status, stub.retry_after, stub.refusals = 429, "1", 1
    other.status = 500
    execute(client(stub, other, retry_s=20))
    first, second = stub.asked_at
    assert second - first >= 1
    assert other.posts > 1


def test_a_second_executor_is_not_kept_waiting_by_what_the_first_asked_for(
    stub: StubExecutor, other: StubExecutor
) -> None:
    stub.status, stub.retry_after = 429, "1000000"
    execute(client(stub, other))
    assert (stub.posts, other.order) == (1, ["a.0"])


@pytest.mark.parametrize("said", ["soon", "-1", "", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_what_is_no_number_of_seconds_changes_nothing(stub: StubExecutor, said: str) -> None:
    stub.status, stub.retry_after = 503, said
    with pytest.raises(ExecutorUnavailable, match="503"):
        execute(client(stub, retry_s=1))
    assert stub.posts > 1


def test_one_connection_serves_many_requests_and_a_new_one_follows_a_restart(stub: StubExecutor) -> None:
    caller = client(stub)
    for number in range(5):
        execute(caller, f"{number}")
    assert stub.connections == 1
    stub.stop()
    stub.start()
    execute(caller, "after")
    assert stub.order[-1] == "after"
    assert stub.connections == 2


def test_an_executor_that_stays_away_is_named(stub: StubExecutor) -> None:
    stub.stop()
    with pytest.raises(ExecutorUnavailable, match=stub.url):
        execute(client(stub, retry_s=0.2))


@pytest.mark.parametrize("status", [413, 422])
def test_what_is_the_callers_fault_is_not_tried_again(
    stub: StubExecutor, other: StubExecutor, status: int
) -> None:
    stub.status = status
    with pytest.raises(InputError, match="told to refuse"):
        execute(client(stub, other))
    assert other.order == []


def test_a_wrong_token_is_not_tried_again_and_names_the_setting(
    stub: StubExecutor, other: StubExecutor
) -> None:
    with pytest.raises(ExecutorUnavailable, match="CRUCIBLE_EXECUTOR_TOKEN") as caught:
        execute(client(stub, other, token="wrong"))
    assert "wrong" not in str(caught.value)
    assert other.connections == 0


def test_languages_and_health_are_read(stub: StubExecutor) -> None:
    caller = client(stub)
    assert caller.languages() == {"python": "3.11.2"}
    assert caller.health()
    caller.close()


@pytest.mark.parametrize("urls", [[], ["ftp://127.0.0.1:1"], ["http://127.0.0.1:port"]])
def test_an_address_that_is_none_is_refused(urls: list[str]) -> None:
    with pytest.raises(SettingsError):
        ExecutorClient(urls, TOKEN, 1.0, 1)
