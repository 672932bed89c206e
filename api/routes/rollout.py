"""``/rollout``: where the migration stands, and changes to it."""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from api.guard import STACK_KEY_ID, Access, Guard
from api.openapi import problems
from api.problems import Problem
from api.requests import JsonBody
from crucible.errors import GateRefused, InputError, RolloutConflict
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.rollout.assessment import Assessment
from crucible.rollout.stage import Percent, RouteRule, Stage
from crucible.rollout.status import RolloutStatus
from crucible.store.rollout import RolloutStore


class Action(StrEnum):
    """What is to be done: one step ahead, back at once, or a change of single values."""

    ADVANCE = "advance"
    ROLLBACK = "rollback"
    SET = "set"


class Wish(Frozen):
    """A change that is asked for.

    ``version`` is the rollout's version that the caller has seen: with it nothing is changed once it is
    another. ``to`` belongs to a rollback; the values after it to ``set``, where null leaves a value alone.
    ``actor`` null is the holder of the key; another name stands beside the key's in the log.
    """

    action: Action
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    reason: Annotated[str, Field(max_length=2000)] = ""
    version: int | None = None
    to: Stage = Stage.LEGACY
    stage: Stage | None = None
    share: Percent | None = None
    sample: Percent | None = None
    held: bool | None = None
    rules: tuple[RouteRule, ...] | None = None
    new_epoch: bool = False
    force: bool = False

    def changes(self) -> dict[str, object]:
        """The values to set."""
        wished = self.model_dump(include={"stage", "share", "sample", "held"})
        return {
            **{name: value for name, value in wished.items() if value is not None},
            **({} if self.rules is None else {"rules": self.rules}),
        }


_EXAMPLES = {
    "Hold everything where it is": {"action": "set", "held": True, "reason": "a release is under way"}
}


def rollout_router(books: RolloutStore, guard: Guard) -> APIRouter:
    """The endpoints of the migration."""
    router = APIRouter(prefix="/rollout")

    @router.get("", dependencies=[Depends(guard.needs(Scope.READ))])
    async def show() -> RolloutStatus:
        """Where the migration stands, what every gate says, and what evidence there is."""
        return await books.status()

    @router.put(
        "",
        responses=problems(HTTPStatus.CONFLICT),
    )
    async def change(
        access: Annotated[Access, Depends(guard.needs(Scope.OPERATE))],
        wish: Annotated[Wish, Depends(JsonBody(Wish, _EXAMPLES))],
    ) -> RolloutStatus:
        """Change it. 409 with every gate's answer when a gate refuses or somebody else was faster."""
        try:
            await _do(books, wish, _actor(wish, access))
        except GateRefused as error:
            gates = error.assessment.gates if isinstance(error.assessment, Assessment) else ()
            details = {"gates": [each.model_dump(mode="json") for each in gates]}
            raise Problem(HTTPStatus.CONFLICT, str(error), details) from error
        except RolloutConflict as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from error
        except InputError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return await books.status()

    return router


def _actor(wish: Wish, access: Access) -> str:
    """Whom the log names: the holder of the key, and beside it who is said to have asked."""
    if wish.actor is None or access.key_id == STACK_KEY_ID:
        return wish.actor or access.name
    return f"{wish.actor} (key {access.name})"


async def _do(books: RolloutStore, wish: Wish, actor: str) -> None:
    match wish.action:
        case Action.ADVANCE:
            await books.advance(actor, wish.reason, wish.version)
        case Action.ROLLBACK:
            await books.rollback(actor, wish.reason, wish.to, wish.version)
        case Action.SET:
            await books.set(
                actor,
                wish.reason,
                wish.version,
                force=wish.force,
                new_epoch=wish.new_epoch,
                **wish.changes(),
            )
