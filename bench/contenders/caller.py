"""A caller of the API, as a process of its own: one evaluation at a time, very many at once, and lists."""

import asyncio
import os
import time
from typing import Any

import httpx

from bench.child import Orders

_PROGRAM = {"language": "python", "code": ""}
_WITHIN_S = 300.0
_IDLE_S = 0.6
"""What an evaluation leaves to be noted after its answer is done by then: the next finds an idle machine."""


class Caller:
    """Somebody with a key. Every method returns JSON."""

    def __init__(self) -> None:
        headers = {"Authorization": f"Bearer {os.environ['BENCH_API_KEY']}"}
        limits = httpx.Limits(max_connections=64)
        self._api = httpx.AsyncClient(
            base_url=os.environ["BENCH_API_URL"], headers=headers, timeout=_WITHIN_S, limits=limits
        )

    async def alone(self, number: int) -> dict[str, Any]:
        """Seconds from handing in to the comparison, and those that the slower leg ran the program."""
        walls, slower = [], []
        for _ in range(number):
            await asyncio.sleep(_IDLE_S)
            started = time.monotonic()
            answer = await self._api.post("/evaluations", params={"wait": 60}, json=_PROGRAM)
            walls.append(time.monotonic() - started)
            comparison = answer.raise_for_status().json()["comparison"]
            slower.append(max(comparison[leg]["duration_s"] for leg in ("legacy", "celery")))
        return {"walls": walls, "slower": slower}

    async def crowd(self, number: int, callers: int, each: int) -> dict[str, Any]:
        """Hand in ``number`` evaluations, ``each`` in a request, by so many callers at once; no waiting."""
        body = [_PROGRAM] * each if each > 1 else _PROGRAM
        left, latencies = number // each, []

        async def call() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                started = time.monotonic()
                (await self._api.post("/evaluations", json=body)).raise_for_status()
                latencies.append(time.monotonic() - started)

        started = time.monotonic()
        await asyncio.gather(*(call() for _ in range(callers)))
        accepted = time.monotonic() - started
        await self.settled()
        return {"accepted": accepted, "settled": time.monotonic() - started, "latencies": latencies}

    async def settled(self) -> dict[str, Any]:
        """Wait until nothing is open."""
        asked = {"status": "submitted", "limit": 1}
        while (await self._api.get("/evaluations", params=asked)).json()["items"]:  # noqa: ASYNC110 (asks)
            await asyncio.sleep(0.05)
        return {}

    async def gets(self, addresses: list[str], number: int, cookie_key: str | None) -> dict[str, Any]:
        """Seconds of each address, asked so often in turn; in a session of the dashboard if it needs one."""
        if cookie_key:
            form, ours = {"key": cookie_key}, {"sec-fetch-site": "same-origin"}
            await self._api.post("/dashboard/login", data=form, headers=ours)
        found: dict[str, list[float]] = {address: [] for address in addresses}
        for _ in range(number):
            for address in addresses:
                started = time.monotonic()
                (await self._api.get(address)).raise_for_status()
                found[address].append(time.monotonic() - started)
        return found


async def _main(orders: Orders) -> None:
    caller = Caller()
    deeds = {"alone": caller.alone, "crowd": caller.crowd, "settled": caller.settled, "gets": caller.gets}
    for order in orders:
        orders.answer(await deeds[order.pop("do")](**order))


if __name__ == "__main__":
    asyncio.run(_main(Orders()))
