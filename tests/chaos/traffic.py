"""Evaluations posted to the API: some to be in the way of a fault, and probes that tell when it is over."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from deployments.stack import StackState
from tests.chaos.corpus import QUICK, evaluation

_PROBE_EVERY_S = 0.5
_WAIT_S = 60
_LIST = 10
_URGENT = 9


@dataclass
class Traffic:
    """``accepted`` are the ids that the API has taken on; it must not lose them, whatever happens."""

    api: httpx.AsyncClient
    marker: str
    accepted: set[str] = field(default_factory=set)
    refused: int = 0
    _posted: int = 0

    async def post(self, number: int) -> None:
        """Post so many, in lists; what the API refuses it has not taken on."""
        for _ in range(number // _LIST):
            await self._post([self._next(each) for each in range(_LIST)])

    async def recovered(self, within_s: float) -> float | None:
        """Seconds until an evaluation posted from now on is answered by both legs; none if none is."""
        began = time.monotonic()
        answered = asyncio.Event()
        probes: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(within_s):
                while not answered.is_set():
                    probes.add(asyncio.create_task(self._probe(answered)))
                    await _either(answered, _PROBE_EVERY_S)
                return time.monotonic() - began
        except TimeoutError:
            return None
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)

    async def _probe(self, answered: asyncio.Event) -> None:
        states = await self._post([self._next(0) | {"priority": _URGENT}])
        while states and not answered.is_set():
            (state,) = states
            if state["status"] == "settled":
                if state["classification"] == "match":
                    answered.set()
                return
            await asyncio.sleep(0.1)
            try:
                found = await self.api.get(f"/evaluations/{state['id']}")
            except httpx.TransportError:
                continue
            states = [found.json()] if found.is_success else states

    async def _post(self, evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            response = await self.api.post("/evaluations", json=evaluations)
        except httpx.TransportError:
            self.refused += len(evaluations)
            return []
        if not response.is_success:
            self.refused += len(evaluations)
            return []
        states: list[dict[str, Any]] = response.json()
        self.accepted |= {each["id"] for each in states}
        return states

    def _next(self, place: int) -> dict[str, Any]:
        """One that is over at once if it is the first of its list."""
        self._posted += 1
        name = f"{self.marker}/posted/{self._posted}"
        return evaluation(name, QUICK + place, self.marker, Random(self._posted))


@asynccontextmanager
async def traffic_to(state: StackState, marker: str) -> AsyncIterator[Traffic]:
    """Traffic for the stack in ``state``."""
    headers = {"Authorization": f"Bearer {state.api_key}"}
    async with httpx.AsyncClient(
        base_url=state.api_url, headers=headers, timeout=_WAIT_S, trust_env=False
    ) as api:
        yield Traffic(api, marker)


async def _either(event: asyncio.Event, within_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return
