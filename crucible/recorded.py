"""Evaluations that came in as traffic as a corpus, to be swept again."""

from collections.abc import AsyncIterator

from crucible.corpus import to_line
from crucible.models import Evaluation
from crucible.store import Store

_ID_LENGTH = 200


async def recorded_lines(store: Store, limit: int) -> AsyncIterator[str]:
    """Corpus lines, without their line ends, of at most ``limit`` programs that came in, the newest first.

    An author's id may have come in many times, so Crucible's own follows it in the line's id: unique, and
    what was answered then can be looked up.
    """
    async for evaluation_id, evaluation in store.recorded(limit):
        yield to_line(_renamed(evaluation, evaluation_id))


def _renamed(evaluation: Evaluation, evaluation_id: str) -> Evaluation:
    if evaluation.id == evaluation_id:
        return evaluation
    ending = f" {evaluation_id}"
    return evaluation.model_copy(update={"id": evaluation.id[: _ID_LENGTH - len(ending)] + ending})
