"""The pages about sweeps."""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.dashboard.evaluations import SIGNS
from api.dashboard.forms import read_form, small_forms
from api.dashboard.live import Live
from api.dashboard.rendering import Pages
from api.dashboard.session import Sessions
from api.ids import is_sweep_id
from api.problems import misfit
from api.routes.lists import before_of, page_of
from api.routes.sweeps import CancelSweep, SweepOrder, started, state_of
from crucible.models import Counts
from crucible.models.access import Scope
from crucible.report.plot import latency_plot
from crucible.report.words import ledger_columns
from crucible.store import Store
from crucible.verdict import MIN_EVALUATIONS

_ROWS = 50


def sweeps_pages(pages: Pages, sessions: Sessions, store: Store, cancel_sweep: CancelSweep) -> APIRouter:
    """For those who may read; starting and cancelling for those who may operate."""
    router = APIRouter(prefix="/sweeps", include_in_schema=False)
    may_read, may_operate = Depends(sessions.needs(Scope.READ)), Depends(sessions.needs(Scope.OPERATE))
    forms = small_forms()

    @router.get("", dependencies=[may_read])
    async def some(request: Request) -> Response:
        cursor = request.query_params.get("cursor")
        found = page_of(
            await store.listing.sweeps(before_of(cursor, is_sweep_id), _ROWS + 1), _ROWS, lambda each: each.id
        )
        values = {"rows": found.items, "older": found.next, "cursor": cursor}
        return pages.page(request, "sweeps", {**values, "live": Live("sweeps", "rows").at(request)})

    @router.post("", dependencies=[may_operate])
    async def start(request: Request) -> Response:
        state = await started(store, _order(await read_form(request, forms)))
        return RedirectResponse(f"/dashboard/sweeps/{state.id}", HTTPStatus.SEE_OTHER)

    @router.get("/{sweep_id}", dependencies=[may_read])
    async def one(request: Request, sweep_id: str) -> Response:
        state = await state_of(store, sweep_id)
        report = state.report
        values = {
            "row": state,
            "report": report,
            "columns": [(each.name, each.number) for each in ledger_columns(state.counts)]
            + _open(state.counts),
            "total": state.counts.submitted,
            "plot": latency_plot(report.latency) if report else None,
            "signs": SIGNS,
            "links": {},
        }
        live = Live(f"sweep:{sweep_id}", "actions", "summary", "ledger")
        return pages.page(request, "sweep", {**values, "live": live.at(request)})

    @router.post("/{sweep_id}/cancel", dependencies=[may_operate])
    async def cancel(sweep_id: str) -> Response:
        await state_of(store, sweep_id)
        await cancel_sweep(sweep_id)
        return RedirectResponse(f"/dashboard/sweeps/{sweep_id}", HTTPStatus.SEE_OTHER)

    return router


def _open(counts: Counts) -> list[tuple[str, int]]:
    left = counts.submitted - counts.settled
    return [("under way", left)] if left else []


def _order(form: dict[str, str]) -> SweepOrder:
    try:
        limit, recorded = int(form.get("limit") or 0), int(form.get("recorded") or 0)
        enough = min(limit or MIN_EVALUATIONS, MIN_EVALUATIONS)
        return SweepOrder(limit=limit or None, recorded=recorded, min_evaluations=enough)
    except (ValueError, ValidationError) as error:
        raise misfit("", f"not a sweep that can be run: {' '.join(str(error).split())}") from None
