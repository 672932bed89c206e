"""The pages of evaluations and of sweeps."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.dashboard.forms import program_forms, read_form, small_forms
from api.dashboard.rendering import Live, Pages
from api.dashboard.session import Sessions
from api.desk import Desk
from api.orders import EvaluationState, parse_order
from api.problems import Problem, misfit
from api.requests import is_evaluation_id, is_sweep_id, unknown_evaluation
from api.routes.evaluations import before_of, page_of
from api.routes.spans import traced
from api.routes.sweeps import CancelSweep, SweepOrder, started, state_of
from crucible.models import Classification, Counts
from crucible.models.access import Scope
from crucible.report.plot import latency_plot
from crucible.report.visible import excerpt
from crucible.report.waterfall import waterfall_html
from crucible.report.words import ledger_columns
from crucible.store import Store
from crucible.store.listing import EvaluationFilter
from crucible.verdict import MIN_EVALUATIONS

SIGNS = {
    Classification.MATCH: "=",
    Classification.MISMATCH: "≠",
    Classification.NONDETERMINISTIC: "~",
    Classification.UNPAIRED: "∅",
    Classification.CANCELLED: "×",
    Classification.NOT_SAMPLED: "–",
}

_ROWS = 50
_SHOWN_LINES = 200
_ASKED = ("status", "classification", "language", "name", "tag", "cause", "sweep", "cursor")
_EMPTY = {"name": "", "language": "python", "code": "", "stdin": "", "priority": "5", "tags": ""}
_ELEMENTS = ("actions", "summary", "comparison", "runs", "waterfall")


def evaluations_pages(pages: Pages, sessions: Sessions, desk: Desk, store: Store) -> APIRouter:
    """For those who may read; submitting and cancelling for those who may do that."""
    router = APIRouter(prefix="/evaluations", include_in_schema=False)
    may_read, may_submit, may_operate = (
        Depends(sessions.needs(Scope.READ)),
        Depends(sessions.needs(Scope.SUBMIT)),
        Depends(sessions.needs(Scope.OPERATE)),
    )
    forms = program_forms()

    @router.get("", dependencies=[may_read])
    async def some(request: Request) -> Response:
        asked = {name: request.query_params.get(name) or None for name in _ASKED}
        values, status = await _listed(store, asked)
        live = {} if asked["cursor"] else {"live": Live("all", "rows").at(request)}
        return pages.page(request, "evaluations", {**values, **live}, status)

    @router.get("/new", dependencies=[may_submit])
    async def form(request: Request) -> Response:
        return pages.page(request, "new", await _form_values(desk, _EMPTY, None))

    @router.post("", dependencies=[may_submit])
    async def submit(request: Request) -> Response:
        given = _EMPTY | await read_form(request, forms)
        try:
            state = await _submitted(desk, given)
        except Problem as problem:
            values = await _form_values(desk, given, problem.detail)
            return pages.page(request, "new", values, problem.status)
        return RedirectResponse(f"/dashboard/evaluations/{state.id}", HTTPStatus.SEE_OTHER)

    @router.get("/{evaluation_id}", dependencies=[may_read])
    async def one(request: Request, evaluation_id: str) -> Response:
        values = await _one(desk, store, evaluation_id)
        live = Live(f"evaluation:{evaluation_id}", *_ELEMENTS)
        return pages.page(request, "evaluation", {**values, "live": live.at(request)})

    @router.post("/{evaluation_id}/cancel", dependencies=[may_operate])
    async def cancel(evaluation_id: str) -> Response:
        if not is_evaluation_id(evaluation_id) or await desk.cancel(evaluation_id) is None:
            raise unknown_evaluation(evaluation_id)
        return RedirectResponse(f"/dashboard/evaluations/{evaluation_id}", HTTPStatus.SEE_OTHER)

    return router


async def _listed(store: Store, asked: Mapping[str, str | None]) -> tuple[dict[str, Any], HTTPStatus]:
    values: dict[str, Any] = {"asked": asked, "classifications": tuple(Classification)}
    nothing = {"rows": (), "older": None, "first": "/dashboard/evaluations"}
    try:
        wanted = _filter(asked)
        found = await store.listing.evaluations(
            wanted, before_of(asked["cursor"], is_evaluation_id), _ROWS + 1
        )
    except Problem as problem:
        return {**values, **nothing, "fault": problem.detail}, problem.status
    except ValueError as error:
        return {**values, **nothing, "fault": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY
    page = page_of(found, _ROWS, lambda each: each.id)
    kept = {name: value for name, value in asked.items() if value and name != "cursor"}
    older = page.next and f"/dashboard/evaluations?{urlencode({**kept, 'cursor': page.next})}"
    first = f"/dashboard/evaluations?{urlencode(kept)}"
    return {**values, "rows": page.items, "older": older, "first": first, "fault": None}, HTTPStatus.OK


def _filter(asked: Mapping[str, str | None]) -> EvaluationFilter:
    status, kind = asked["status"], asked["classification"]
    if status not in (None, "submitted", "settled"):
        raise ValueError(f"{status!r} is no status; submitted and settled are")
    return EvaluationFilter(
        status=status,  # type: ignore[arg-type]  # (looked at just now)
        classification=Classification(kind) if kind else None,
        sweep_id=asked["sweep"],
        **{name: asked[name] for name in ("language", "name", "tag", "cause")},  # type: ignore[arg-type]
    )


async def _form_values(desk: Desk, given: Mapping[str, str], fault: str | None) -> dict[str, Any]:
    languages = sorted(await desk.languages())
    return {"given": given, "fault": fault, "languages": languages}


async def _submitted(desk: Desk, given: Mapping[str, str]) -> EvaluationState:
    tags = [each.strip() for each in given["tags"].split(",") if each.strip()]
    order: dict[str, object] = {
        "language": given["language"],
        # A browser ends the lines of a text with CR LF, whatever its user typed.
        "code": given["code"].replace("\r\n", "\n"),
        "stdin": given["stdin"].replace("\r\n", "\n"),
        "priority": int(given["priority"]) if given["priority"].isdecimal() else given["priority"],
        "tags": tags,
    }
    if given["name"]:
        order["id"] = given["name"]
    answer = await desk.submit(parse_order(orjson.dumps(order)), 0)
    return answer.states[0]


async def _one(desk: Desk, store: Store, evaluation_id: str) -> dict[str, Any]:
    row, spans = await traced(store, evaluation_id)
    ((_, evaluation),) = await store.load([evaluation_id])
    state = await desk.state(evaluation_id)
    runs = await store.runs(evaluation_id)
    return {
        "row": row,
        "evaluation": evaluation,
        "flow_run_ids": state.flow_run_ids if state else (),
        "later": [each for each in runs if each.run > 0],
        "program": excerpt(evaluation.code.encode(), _SHOWN_LINES),
        "stdin": excerpt(evaluation.stdin.encode(), _SHOWN_LINES),
        "signs": SIGNS,
        "links": {},
        "waterfall": waterfall_html(spans) if spans else None,
    }


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
