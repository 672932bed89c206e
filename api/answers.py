"""What the API says of evaluations."""

from typing import Annotated, Literal

from pydantic import Field

from crucible.models import Classification, Comparison, Leg
from crucible.models.frozen import Frozen
from crucible.store import LedgerRow


class Links(Frozen):
    """Where to look: at this answer again, and at the flow run in the Prefect UI once there is one."""

    itself: Annotated[str, Field(serialization_alias="self")]
    flow_run: str | None


class EvaluationState(Frozen):
    """One evaluation as it stands. ``id`` is Crucible's, ``name`` the author's.

    ``classification`` and ``comparison`` are null until it is settled. A mismatch with
    ``comparison.reruns`` 0 has not been confirmed yet. ``answered_by`` is the leg whose observation in the
    comparison is the answer: null until there is one. ``flow_run_ids`` starts with the first run's.
    """

    id: str
    name: str
    status: Literal["submitted", "settled"]
    classification: Classification | None
    comparison: Comparison | None
    answered_by: Leg | None
    flow_run_ids: tuple[str, ...]
    links: Links


class Answers:
    """Makes states, with links into the Prefect UI at ``prefect_url``."""

    def __init__(self, prefect_url: str) -> None:
        self._prefect_url = prefect_url

    def submitted(self, evaluation_id: str, name: str, flow_run_id: str | None) -> EvaluationState:
        """An evaluation without a column in the ledger yet, under way in ``flow_run_id`` if there is one."""
        flow_run_ids = () if flow_run_id is None else (flow_run_id,)
        return self._state(evaluation_id, name, None, None, flow_run_ids)

    def settled(self, comparison: Comparison) -> EvaluationState:
        """An evaluation by its comparison."""
        return self._state(
            comparison.evaluation_id,
            comparison.name,
            comparison.classification,
            comparison,
            comparison.flow_run_ids,
        )

    def of_row(self, row: LedgerRow, flow_run_id: str | None) -> EvaluationState:
        """An evaluation by the ledger; one that was settled by being submitted has no comparison."""
        if row.comparison is not None:
            return self.settled(row.comparison)
        if row.classification is None:
            return self.submitted(row.id, row.name, flow_run_id)
        return self._state(row.id, row.name, row.classification, None, ())

    def _state(
        self,
        evaluation_id: str,
        name: str,
        classification: Classification | None,
        comparison: Comparison | None,
        flow_run_ids: tuple[str, ...],
    ) -> EvaluationState:
        flow_run = f"{self._prefect_url}/runs/flow-run/{flow_run_ids[0]}" if flow_run_ids else None
        return EvaluationState(
            id=evaluation_id,
            name=name,
            status="submitted" if classification is None else "settled",
            classification=classification,
            comparison=comparison,
            answered_by=None if comparison is None else comparison.answered_by,
            flow_run_ids=flow_run_ids,
            links=Links(itself=f"/evaluations/{evaluation_id}", flow_run=flow_run),
        )
