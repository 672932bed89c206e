"""Bodies are bounded one by one and together, whether or not they say how long they are."""

from contextlib import AsyncExitStack
from http import HTTPStatus

import pytest
from starlette.requests import Request
from starlette.types import Message

from api.problems import Problem
from api.requests import Intake

CHUNK = b"x" * 100


def request(*chunks: bytes, hangs_up: bool = False) -> Request:
    """One whose body comes in these parts."""
    messages: list[Message] = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
    messages.append({"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b""})

    async def receive() -> Message:
        return messages.pop(0)

    return Request({"type": "http", "headers": []}, receive)


async def test_a_body_comes_whole() -> None:
    async with Intake().body(request(b"a", b"b", b"c")) as body:
        assert body == b"abc"


async def test_a_caller_who_hangs_up_in_the_middle_is_not_our_defect_and_holds_nothing() -> None:
    intake = Intake(most_bytes=len(CHUNK))
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            async with intake.body(request(CHUNK, hangs_up=True)):
                pass
        assert caught.value.status is HTTPStatus.BAD_REQUEST


async def test_what_all_requests_together_hold_is_bounded_until_they_are_answered() -> None:
    intake = Intake(most_bytes=3 * len(CHUNK))
    async with AsyncExitStack() as under_way:
        for _ in range(3):
            await under_way.enter_async_context(intake.body(request(CHUNK)))
        with pytest.raises(Problem) as caught:
            await under_way.enter_async_context(intake.body(request(b"one more")))
        assert caught.value.status is HTTPStatus.TOO_MANY_REQUESTS
        assert int(caught.value.as_response().headers["retry-after"]) >= 1
    async with intake.body(request(CHUNK, CHUNK, CHUNK)) as body:
        assert len(body) == 3 * len(CHUNK)
