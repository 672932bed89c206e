"""``/evaluations`` and the lists: hand one in, see where it stands, and find what there is."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.desk import Desk
from api.guard import Access, Guard
from api.idempotency import Repeats
from api.openapi import Responses, problems
from api.orders import EXAMPLES, EvaluationState, OrderBody, parse_order
from api.problems import misfit
from api.requests import Intake, JsonContent, Moment, is_evaluation_id, is_sweep_id, unknown_evaluation
from crucible.models import Classification
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.store.listing import EvaluationFilter, EvaluationSummary, Listing, SweepSummary

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


MOST_IN_PAGE = 500

Item = TypeVar("Item")


class Page(Frozen, Generic[Item]):
    """One page of a list, newest first. ``next`` is the cursor of the page after it; null at the end.

    What comes in meanwhile is newer than every cursor: no page repeats or misses what was there before.
    """

    items: tuple[Item, ...]
    next: str | None


Limit = Annotated[int, Query(ge=1, le=MOST_IN_PAGE, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next` of the page before.")]
SweepId = Annotated[str | None, Query(pattern="^sw-[0-9A-Z]{26}$", description="Of this sweep.")]
Text = Annotated[str | None, Query(min_length=1, max_length=200)]


def lists_router(listing: Listing, guard: Guard) -> APIRouter:
    """The lists, for those who may read."""
    router = APIRouter(dependencies=[Depends(guard.needs(Scope.READ))])

    @router.get("/evaluations")
    async def evaluations(
        status: Literal["submitted", "settled"] | None = None,
        classification: Classification | None = None,
        unexpected: bool | None = None,  # noqa: FBT001 (a parameter of the query)
        sweep: SweepId = None,
        language: Text = None,
        name: Annotated[Text, Query(description="The author's id.")] = None,
        tag: Text = None,
        cause: Annotated[Text, Query(description="The fingerprint of a mismatch.")] = None,
        since: Annotated[Moment | None, Query(description="Submitted then or later.")] = None,
        until: Annotated[Moment | None, Query(description="Submitted before.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[EvaluationSummary]:
        """Evaluations that fit all that is asked, newest first."""
        wanted = EvaluationFilter(
            *(status, classification, unexpected, sweep, language, name, tag, cause, since, until)
        )
        before = before_of(cursor, is_evaluation_id)
        return page_of(await listing.evaluations(wanted, before, limit + 1), limit, lambda each: each.id)

    @router.get("/sweeps")
    async def sweeps(limit: Limit = 50, cursor: Cursor = None) -> Page[SweepSummary]:
        """Sweeps, newest first."""
        before = before_of(cursor, is_sweep_id)
        return page_of(await listing.sweeps(before, limit + 1), limit, lambda each: each.id)

    return router


def page_of(found: Sequence[Item], limit: int, id_of: Callable[[Item], str]) -> Page[Item]:
    """The page of ``limit`` items from one more than that, if there are so many."""
    shown = tuple(found[:limit])
    after = urlsafe_b64encode(id_of(shown[-1]).encode()).decode() if len(found) > limit else None
    return Page(items=shown, next=after)


def before_of(cursor: str | None, is_id: Callable[[str], bool]) -> str | None:
    """The id below which a page begins. Raises a 422 ``Problem`` where a cursor is none of such ids."""
    if cursor is None:
        return None
    try:
        found = urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
    except (Base64Error, UnicodeError, ValueError):
        found = ""
    if not is_id(found):
        raise misfit("cursor", "is none of this list; use `next` of the page before")
    return found
