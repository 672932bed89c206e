"""``/sweeps``: start one, see how it goes, stop it, whoever runs it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import Field, model_validator

from api.guard import Guard
from api.openapi import problems
from api.problems import Problem
from api.requests import JsonBody, is_sweep_id, unknown_sweep
from crucible.errors import ServiceUnavailable
from crucible.ids import new_sweep_id
from crucible.models import Counts, SweepReport
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.report.svg import latency_svg
from crucible.store import Store
from crucible.store.ownership import CANCELLED
from crucible.verdict import MIN_EVALUATIONS
from flows.flow_runs import start_parity_sweep

CancelSweep = Callable[[str], Awaitable[None]]
"""See ``flows.host.cancel_sweep``."""


class SweepOrder(Frozen):
    """What a sweep is to run: the bundled corpus, and the newest ``recorded`` programs of users.

    ``limit`` null is all of it. With ``ignore_expectations`` what both legs agree on fails no sweep.
    """

    bundled: bool = True
    recorded: Annotated[int, Field(ge=0, le=100_000)] = 0
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    min_evaluations: Annotated[int, Field(ge=1, le=1_000_000)] = MIN_EVALUATIONS
    ignore_expectations: bool = False

    @model_validator(mode="after")
    def _sweeps_something(self) -> Self:
        if not self.bundled and not self.recorded:
            raise ValueError(
                "nothing to sweep: neither the bundled corpus nor recorded programs are asked for"
            )
        return self


class SweepState(Frozen):
    """A sweep as it stands. ``verdict`` and ``report`` are null until it has ended.

    A ``verdict`` of ``crashed`` says that the process which ran it is no more; what was open in it is gone
    on with. ``cancelled`` and ``not swept`` stand there, too, and have no report. ``counts`` adds up once it
    has ended. ``flow_run_id`` is the flow run that was asked for while a sweep is being started, and the
    one of its flow ``sweep`` in a report.
    """

    id: str
    started_at: datetime
    finished_at: datetime | None
    verdict: str | None
    counts: Counts
    flow_run_id: str | None = None
    report: SweepReport | None = None


_EXAMPLES = {"Ten programs of the bundled corpus": {"limit": 10, "min_evaluations": 10}}


def sweeps_router(store: Store, cancel_sweep: CancelSweep, guard: Guard) -> APIRouter:
    """The endpoints of sweeps."""
    router = APIRouter(prefix="/sweeps")

    @router.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(guard.needs(Scope.OPERATE))],
        responses=problems(HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def start(
        response: Response, order: Annotated[SweepOrder, Depends(JsonBody(SweepOrder, _EXAMPLES))]
    ) -> SweepState:
        """Start a parity sweep. It runs where sweeps are served, one at a time; 202 with where to look."""
        state = await started(store, order)
        response.headers["Location"] = f"/sweeps/{state.id}"
        return state

    @router.get(
        "/{sweep_id}",
        dependencies=[Depends(guard.needs(Scope.READ))],
        responses=problems(HTTPStatus.NOT_FOUND),
    )
    async def show(sweep_id: str) -> SweepState:
        """How a sweep stands: its ledger now, and its report once it has ended."""
        return await state_of(store, sweep_id)

    @router.delete(
        "/{sweep_id}",
        dependencies=[Depends(guard.needs(Scope.OPERATE))],
        responses=problems(HTTPStatus.NOT_FOUND),
    )
    async def cancel(sweep_id: str) -> Counts:
        """Cancel what is open in a sweep, and have it submit no more; the answer is its ledger after that."""
        if not is_sweep_id(sweep_id) or not await store.has_sweep(sweep_id):
            raise unknown_sweep(sweep_id)
        await cancel_sweep(sweep_id)
        return await store.counts(sweep_id)

    return router


async def started(store: Store, order: SweepOrder) -> SweepState:
    """A new sweep, announced in the ledger and to whoever runs it.

    Raises ``StoreError`` when nothing was started, and ``ServiceUnavailable`` when Prefect does not take it:
    then it is cancelled.
    """
    sweep_id = new_sweep_id()
    parameters = order.model_dump(include={"recorded", "min_evaluations", "ignore_expectations"})
    parameters |= {"limit": order.limit or 0, "corpora": ["bundled"] if order.bundled else []}
    await store.announce_sweep(sweep_id, order.model_dump(mode="json"))
    try:
        flow_run_id = await start_parity_sweep(sweep_id, parameters)
    except ServiceUnavailable:
        await store.ownership.end_sweep(sweep_id, CANCELLED)
        raise
    state = await state_of(store, sweep_id)
    return state.model_copy(update={"flow_run_id": flow_run_id})


async def state_of(store: Store, sweep_id: str) -> SweepState:
    """How a sweep stands; raises a 404 ``Problem`` when there is none of that id."""
    found = await store.listing.sweep(sweep_id) if is_sweep_id(sweep_id) else None
    if found is None:
        raise unknown_sweep(sweep_id)
    report = await store.sweep(sweep_id)
    counts = await store.counts(sweep_id)
    flow_run_id = report.flow_run_ids[0] if report and report.flow_run_ids else None
    return SweepState(**found.model_dump(), counts=counts, flow_run_id=flow_run_id, report=report)


_KEPT = 64
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


class Drawing(Response):
    """An SVG document."""

    media_type = "image/svg+xml"


def plots_router(find_sweep: Callable[[str], Awaitable[SweepReport | None]]) -> APIRouter:
    """Plots need no key: the Prefect UI embeds them as images, and a browser shows no key for an image.

    Whoever has a sweep's id, of which 80 bits are chance, sees how long its programs ran, and no word of
    any of them.
    """
    router = APIRouter(prefix="/sweeps/{sweep_id}/plots")
    drawn: dict[str, str] = {}

    async def draw(sweep_id: str) -> str | None:
        """A sweep is drawn once, for its report may be long; what is finished never changes."""
        report = await find_sweep(sweep_id) if is_sweep_id(sweep_id) else None
        drawing = None if report is None else latency_svg(report.latency)
        if drawing is not None:
            drawn[sweep_id] = drawing
            if len(drawn) > _KEPT:
                del drawn[next(iter(drawn))]
        return drawing

    @router.get("/latency.svg", response_class=Drawing, responses=problems(HTTPStatus.NOT_FOUND))
    async def latency(sweep_id: str) -> Response:
        """How long programs ran on either leg, as an SVG document."""
        drawing = drawn.get(sweep_id) or await draw(sweep_id)
        if drawing is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no finished sweep with run times has the id {sweep_id!r}")
        return Drawing(drawing, headers=_HEADERS)

    return router
