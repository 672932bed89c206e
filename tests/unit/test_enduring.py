"""A flow run is begun again for faults that pass, and for no other."""

import httpx
import pytest

from crucible.errors import CircuitOpen, InputError, LedgerImbalance, ServiceUnavailable, StoreError
from flows.flow_runs import enduring

REQUEST = httpx.Request("GET", "http://prefect/api")


def refused(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("refused", request=REQUEST, response=httpx.Response(status, request=REQUEST))


PASSING = [
    httpx.ConnectError("nobody listens"),
    httpx.ReadTimeout("it says nothing"),
    refused(503),
    ServiceUnavailable("Redis is away"),
    StoreError("database or disk is full"),
    ExceptionGroup("legs", [httpx.ConnectError("a"), ExceptionGroup("more", [StoreError("b")])]),
]
LASTING = [
    refused(404),
    ValueError("a defect"),
    InputError("no such corpus"),
    LedgerImbalance("1 is not 2"),
    CircuitOpen("executor-3", 5.0),
    ExceptionGroup("legs", [httpx.ConnectError("a"), ValueError("b")]),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_what_passes_is_tried_until_it_has_passed(error: Exception) -> None:
    said = [error, error, None]

    async def attempt() -> str:
        if (fault := said.pop(0)) is not None:
            raise fault
        return "done"

    assert await enduring(within_s=60, attempt=attempt) == "done"
    assert said == []


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
async def test_what_does_not_pass_is_told_at_once(error: Exception) -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise error

    with pytest.raises(type(error)):
        await enduring(within_s=60, attempt=attempt)
    assert attempts == 1


async def test_it_ends_with_the_fault_when_the_time_is_over() -> None:
    async def attempt() -> None:
        raise StoreError("still full")

    with pytest.raises(StoreError, match="still full"):
        await enduring(within_s=0.01, attempt=attempt)
