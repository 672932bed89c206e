"""``/sweeps``: sweeps, whoever runs them."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import APIRouter

from api.problems import Problem
from crucible.models import Counts
from crucible.store import Store

_ID = re.compile(r"sw-[0-9A-Z]{26}")

CancelSweep = Callable[[str], Awaitable[None]]
"""See ``flows.cancel.cancel_sweep``."""


def sweeps_router(store: Store, cancel_sweep: CancelSweep) -> APIRouter:
    """The endpoints of sweeps; who may use them is the application's business."""
    router = APIRouter(prefix="/sweeps")

    @router.delete("/{sweep_id}")
    async def cancel(sweep_id: str) -> Counts:
        """Cancel what is open in a sweep, and have it submit no more; the answer is its ledger after that."""
        if not _ID.fullmatch(sweep_id) or not await store.has_sweep(sweep_id):
            raise Problem(HTTPStatus.NOT_FOUND, f"no sweep has the id {sweep_id!r}")
        await cancel_sweep(sweep_id)
        return await store.counts(sweep_id)

    return router
