"""Runs by id: asked twice, run once."""

import asyncio
from http import HTTPStatus

import pytest

from executors.service.orders import Problem
from executors.service.queue import Answers


class Start:
    """A run that can be held; ``count`` is how often it was started."""

    def __init__(self, answer: bytes | Problem) -> None:
        self.count = 0
        self.go_on = asyncio.Event()
        self._answer = answer

    async def __call__(self) -> bytes | Problem:
        self.count += 1
        await self.go_on.wait()
        return self._answer


async def test_the_same_id_asked_twice_at_once_runs_once() -> None:
    answers, start = Answers(), Start(b"answer")
    asked = [asyncio.create_task(answers.get("a", start)) for _ in range(3)]
    await asyncio.sleep(0)
    assert answers.knows("a")
    start.go_on.set()
    assert [each.body for each in await asyncio.gather(*asked)] == [b"answer"] * 3
    assert start.count == 1


async def test_an_answer_is_kept_for_those_who_ask_again() -> None:
    answers, start = Answers(), Start(b"answer")
    start.go_on.set()
    assert [(await answers.get("a", start)).body for _ in range(2)] == [b"answer"] * 2
    assert (start.count, answers.knows("a")) == (1, True)


async def test_a_run_goes_on_when_the_one_who_asked_hangs_up() -> None:
    answers, start = Answers(), Start(b"answer")
    impatient = asyncio.create_task(answers.get("a", start))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    start.go_on.set()
    assert (await answers.get("a", start)).body == b"answer"
    assert start.count == 1


async def test_a_fault_of_the_platform_is_handed_out_and_not_kept() -> None:
    fault = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the sandbox failed")
    answers, start = Answers(), Start(fault)
    start.go_on.set()
    assert (await answers.get("a", start)).body is fault
    assert not answers.knows("a")
    assert (await answers.get("a", start)).body is fault
    assert start.count == 2


async def test_a_run_that_raises_is_not_kept() -> None:
    async def fail() -> bytes | Problem:
        raise OSError("no slot")

    answers = Answers()
    with pytest.raises(OSError, match="no slot"):
        await answers.get("a", fail)
    assert not answers.knows("a")


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    answers = Answers(kept_bytes=250)
    for name in "abc":
        start = Start(name.encode() * 100)
        start.go_on.set()
        await answers.get(name, start)
    assert [answers.knows(name) for name in "abc"] == [False, True, True]


async def test_an_answer_larger_than_all_that_is_kept_is_handed_out_once() -> None:
    answers, start = Answers(kept_bytes=10), Start(b"x" * 100)
    start.go_on.set()
    assert (await answers.get("a", start)).body == b"x" * 100
    assert not answers.knows("a")
    small = Start(b"y" * 10)
    small.go_on.set()
    await answers.get("b", small)
    assert answers.knows("b")
