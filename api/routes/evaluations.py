"""``/evaluations``: hand one in, see where it stands."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.access import Access
from api.bodies import Intake, JsonContent
from api.desk import Desk
from api.guard import Guard
from api.idempotency import Repeats
from api.openapi import Responses, problems
from api.orders import EXAMPLES, EvaluationState, OrderBody, parse_order
from api.parameters import is_evaluation_id, unknown_evaluation
from crucible.models.access import Scope

MAX_WAIT_S = 300

WaitSeconds = Annotated[
    float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the comparison; 0: answer at once.")
]


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="A text of your own: the same request sent again under it submits nothing new.",
    ),
]

_REPLAYED = {
    "Idempotency-Replayed": {
        "description": "`true` when an earlier request with the same Idempotency-Key has submitted these.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_LOCATION = {
    "Location": {"description": "Where to look for it; not for a list.", "schema": {"type": "string"}}
}
_SUBMITTED: Responses = {
    HTTPStatus.OK.value: {
        "description": "All are settled.",
        "model": EvaluationState | list[EvaluationState],
        "headers": _LOCATION | _REPLAYED,
    },
    HTTPStatus.ACCEPTED.value: {
        "description": "They are in the ledger; some are not settled yet.",
        "headers": _LOCATION | _REPLAYED,
    },
}


def evaluations_router(desk: Desk, guard: Guard, repeats: Repeats) -> APIRouter:
    """The endpoints of evaluations."""
    router = APIRouter(prefix="/evaluations")
    intake = Intake()
    submitter = guard.needs(Scope.SUBMIT)

    @router.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(submitter), Depends(JsonContent(OrderBody, EXAMPLES))],
        responses=_SUBMITTED,
    )
    async def submit(
        request: Request,
        response: Response,
        access: Annotated[Access, Depends(submitter)],
        wait: WaitSeconds = 0,
        idempotency_key: IdempotencyKey = None,
    ) -> EvaluationState | list[EvaluationState]:
        """Run an evaluation, or each of a list, on both legs. Its ``id`` may be left out.

        202 with where to look; with ``wait`` 200 with the comparison, if it is there in time. With an
        ``Idempotency-Key`` the request can be sent again: it is then answered with the same evaluations.
        """
        async with intake.body(request) as body:
            order = parse_order(body)
            again = None if idempotency_key is None else repeats.of(access, idempotency_key, body)
            answer = await desk.submit(order, wait, again)
        if answer.is_settled:
            response.status_code = HTTPStatus.OK
        if answer.is_repeated:
            response.headers["Idempotency-Replayed"] = "true"
        if order.is_list:
            return list(answer.states)
        response.headers["Location"] = answer.states[0].links.itself
        return answer.states[0]

    @router.get(
        "/{evaluation_id}",
        dependencies=[Depends(guard.needs(Scope.READ))],
        responses=problems(HTTPStatus.NOT_FOUND),
    )
    async def show(evaluation_id: str) -> EvaluationState:
        """Where an evaluation stands: its classification and comparison once it is settled."""
        state = await desk.state(evaluation_id) if is_evaluation_id(evaluation_id) else None
        if state is None:
            raise unknown_evaluation(evaluation_id)
        return state

    @router.delete(
        "/{evaluation_id}",
        dependencies=[Depends(guard.needs(Scope.OPERATE))],
        responses=problems(HTTPStatus.NOT_FOUND),
    )
    async def cancel(evaluation_id: str) -> EvaluationState:
        """Cancel an evaluation: neither leg goes on with it. 200 with how it is settled now.

        One that was settled before stays as it is, so that asking again changes nothing.
        """
        state = await desk.cancel(evaluation_id) if is_evaluation_id(evaluation_id) else None
        if state is None:
            raise unknown_evaluation(evaluation_id)
        return state

    return router
