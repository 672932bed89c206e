"""``/evaluations``: hand one in, see where it stands."""

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.answers import EvaluationState
from api.desk import Desk
from api.intake import Intake
from api.orders import parse_order
from api.problems import Problem

MAX_WAIT_S = 300

_ID = re.compile(r"ev-[0-9A-Z]{26}")

WaitSeconds = Annotated[
    float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the comparison; 0: answer at once.")
]


def evaluations_router(desk: Desk) -> APIRouter:
    """The endpoints of evaluations; who may use them is the application's business."""
    router = APIRouter(prefix="/evaluations")
    intake = Intake()

    @router.post("", status_code=HTTPStatus.ACCEPTED)
    async def submit(
        request: Request, response: Response, wait: WaitSeconds = 0
    ) -> EvaluationState | list[EvaluationState]:
        """Run an evaluation, or each of a list, on both legs. Its ``id`` may be left out.

        202 with where to look; with ``wait`` 200 with the comparison, if it is there in time.
        """
        async with intake.body(request) as body:
            order = parse_order(body)
            states, all_settled = await desk.submit(order, wait)
        if all_settled:
            response.status_code = HTTPStatus.OK
        if order.is_list:
            return states
        response.headers["Location"] = states[0].links.itself
        return states[0]

    @router.get("/{evaluation_id}")
    async def show(evaluation_id: str) -> EvaluationState:
        """Where an evaluation stands: its classification and comparison once it is settled."""
        state = await desk.state(evaluation_id) if _ID.fullmatch(evaluation_id) else None
        if state is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no evaluation has the id {evaluation_id!r}")
        return state

    @router.delete("/{evaluation_id}")
    async def cancel(evaluation_id: str) -> EvaluationState:
        """Cancel an evaluation: neither leg goes on with it. 200 with how it is settled now.

        One that was settled before stays as it is, so that asking again changes nothing.
        """
        state = await desk.cancel(evaluation_id) if _ID.fullmatch(evaluation_id) else None
        if state is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no evaluation has the id {evaluation_id!r}")
        return state

    return router
