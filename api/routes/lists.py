"""``GET /evaluations`` and ``GET /sweeps``: what there is, newest first, page by page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Query

from api.guard import Guard
from api.parameters import Moment, is_evaluation_id, is_sweep_id
from api.problems import misfit
from crucible.models import Classification
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.store.listing import EvaluationFilter, EvaluationSummary, Listing, SweepSummary

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
