"""Fault after fault, those that want the same stack on the same one."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import httpx

from crucible.errors import CrucibleError
from tests.chaos.fault import Fault
from tests.chaos.findings import Row
from tests.chaos.run import Order, run
from tests.chaos.stack import ChaosError, Stack
from tests.chaos.starting import chaos_stack
from tests.chaos.verdict import row_without_end

Say = Callable[[Row | str | None], None]
"""Is given the table row by row; first nothing, for its heading."""

_ROW_WITHIN_S = 900


def _cancel(campaign: asyncio.Task[object] | None) -> None:
    """So that stacks and mounts do not outlive it."""
    if campaign is not None:
        campaign.cancel()


class Campaign:
    """Homes are made in ``folder``."""

    def __init__(self, folder: Path, order: Order, say: Say) -> None:
        self._folder, self._order, self._say = folder, order, say

    async def run(self, faults: Sequence[Fault]) -> list[Row]:
        """The rows of all faults that can be had here."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel, asyncio.current_task())
        self._say(None)
        possible = [each for each in faults if not self._is_left_out(each)]
        rows: list[Row] = []
        for faked, group in groupby(possible, lambda each: each.faked_clocks):
            home = self._folder / ("home-faked" if faked else "home")
            async with chaos_stack(home, faked_clocks=faked) as stack:
                rows += [await self._one(stack, fault) for fault in group]
        return rows

    async def _one(self, stack: Stack, fault: Fault) -> Row:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_ROW_WITHIN_S):
                row = await run(stack, fault, self._order)
        except (ChaosError, CrucibleError, OSError, httpx.HTTPError, sqlite3.Error) as error:
            row = row_without_end(fault, f"{type(error).__name__}: {error}", time.monotonic() - began)
        self._say(row)
        return row

    def _is_left_out(self, fault: Fault) -> bool:
        why = fault.impossible()
        if why is not None:
            self._say(f"{fault.name}: left out, {why}")
        return why is not None
