"""Continuous traffic whose right answers are known, and what became of it."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from deployments.stack import StackState

_AT_ONCE = 4
_LIST = 5
_WAIT_S = 60
_LOOK_EVERY_S = 0.5
_LOOKS = 240
_TENANTS = 40
_PROGRAMS = {"python": "print({number} * {number})", "bash": "echo $(({number} * {number}))"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One evaluation of the traffic: who answered, and whether the answer is right."""

    id: str
    answered_by: str | None
    is_right: bool


@dataclass
class Traffic:
    """What was sent and what came back. ``lost`` evaluations never got an answer."""

    api: httpx.AsyncClient
    answered: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Send lists, one after the other in each of a few lines, until the end; all are waited for."""
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as lines:
            for _ in range(_AT_ONCE):
                lines.create_task(self._line(ending))
            try:
                yield
            finally:
                ending.set()

    async def _line(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            numbers = [next(self._numbers) for _ in range(_LIST)]
            orders = [_evaluation(number) for number in numbers]
            response = await self.api.post("/evaluations", json=orders, params={"wait": _WAIT_S})
            response.raise_for_status()
            for number, state in zip(numbers, response.json(), strict=True):
                self._note(number, await self._settled(state))

    async def _settled(self, state: dict[str, object]) -> dict[str, object]:
        """``state`` once it is settled: on a busy machine that may take longer than a request waits."""
        for _ in range(_LOOKS):
            if state["status"] == "settled":
                break
            await asyncio.sleep(_LOOK_EVERY_S)
            state = (await self.api.get(f"/evaluations/{state['id']}")).raise_for_status().json()
        return state

    def _note(self, number: int, state: dict[str, object]) -> None:
        comparison, who = state["comparison"], state["answered_by"]
        if not isinstance(comparison, dict) or not isinstance(who, str):
            self.lost.append(f"{state['id']} is {state['classification']}: {comparison}")
            return
        right = f"{number * number}\n".encode()
        seen = comparison[who]
        is_right = seen["exit_code"] == 0 and base64.b64decode(seen["stdout_b64"]) == right
        self.answered.append(Answered(str(state["id"]), who, is_right))


@asynccontextmanager
async def traffic_to(state: StackState) -> AsyncIterator[Traffic]:
    """Traffic for the stack in ``state``; it flows only while told to."""
    headers = {"Authorization": f"Bearer {state.api_key}"}
    async with httpx.AsyncClient(
        base_url=state.api_url, headers=headers, timeout=_WAIT_S + 30, trust_env=False
    ) as api:
        yield Traffic(api)


def _evaluation(number: int) -> dict[str, object]:
    language = list(_PROGRAMS)[number % len(_PROGRAMS)]
    return {
        "id": f"drill-{number}",
        "language": language,
        "code": _PROGRAMS[language].format(number=number),
        "tenant": f"tenant-{number % _TENANTS}",
    }
