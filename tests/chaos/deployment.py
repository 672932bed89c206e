"""A sweep that the service ``flows`` runs, as when somebody presses the button in the Prefect UI."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.stack import Stack

_OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_LOOK_EVERY_S = 0.5


class DeployedSweep:
    """A flow run ``parity-sweep`` on a stack. ``started`` makes one."""

    document: dict[str, Any] | None = None
    """It prints nothing."""
    said = ""
    printed_besides = ""

    def __init__(self, api_url: str, flow_run_id: str) -> None:
        self._api_url, self._id = api_url, flow_run_id
        self._state = "SCHEDULED"
        self._watching = asyncio.ensure_future(self._watch())

    @classmethod
    async def started(cls, stack: Stack, corpus: Path) -> "DeployedSweep":
        """One that is due now."""
        api_url = stack.state.prefect_api_url
        async with httpx.AsyncClient(base_url=api_url, trust_env=False, timeout=30) as client:
            found = (await client.get("/deployments/name/parity-sweep/scheduled")).raise_for_status().json()
            made = await client.post(
                f"/deployments/{found['id']}/create_flow_run",
                json={"parameters": {"corpora": [str(corpus)], "recorded": 0}},
            )
        return cls(api_url, made.raise_for_status().json()["id"])

    @property
    def has_ended(self) -> bool:
        """Whether its state is a last one."""
        return self._watching.done()

    def kill(self) -> None:
        """It has no process that the harness knows of."""

    async def ends(self, within_s: float) -> bool:
        """Waits for its end."""
        return bool((await asyncio.wait({self._watching}, timeout=within_s))[0])

    async def close(self) -> None:
        """Stops looking."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)

    @property
    def how(self) -> str:
        """Its state in Prefect."""
        return self._state.lower() if self.has_ended else "still running"

    async def _watch(self) -> None:
        async with httpx.AsyncClient(base_url=self._api_url, trust_env=False) as client:
            while self._state not in _OVER:
                await asyncio.sleep(_LOOK_EVERY_S)
                try:
                    found = await client.get(f"/flow_runs/{self._id}")
                except httpx.TransportError:
                    continue
                if found.is_success:
                    self._state = found.json()["state_type"]
