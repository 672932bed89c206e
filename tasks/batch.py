"""A batch of evaluations on its way through both legs: what is asked, and the pairs that come back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from crucible.compare import compare
from crucible.models import Comparison, Evaluation, Leg, Observation
from tasks.dispatch import Dispatch
from tasks.exchange import Exchange

OnPair = Callable[[Comparison], None]


@dataclass(slots=True)
class _Pair:
    seen: dict[Leg, Observation | None] = field(default_factory=dict)
    reasons: dict[Leg, str] = field(default_factory=dict)


class Batch:
    """Evaluations by Crucible's id, sent as run number ``run``.

    ``on_pair`` gets each comparison the moment its second side is there, long before the batch ends.
    """

    def __init__(
        self,
        evaluations: Sequence[tuple[str, Evaluation]],
        run: int,
        flow_run_id: str,
        exchange: Exchange,
        reply_to: str,
        on_pair: OnPair,
    ) -> None:
        self._evaluations: Mapping[str, Evaluation] = dict(evaluations)
        self._run = run
        self.flow_run_id = flow_run_id
        self._exchange = exchange
        self._reply_to = reply_to
        self._on_pair = on_pair
        self._pairs = {evaluation_id: _Pair() for evaluation_id in self._evaluations}
        self.comparisons: list[Comparison] = []

    def __len__(self) -> int:
        return len(self._evaluations)

    async def ask(self, leg: Leg) -> None:
        """Run the whole batch on one leg; returns when every evaluation has its answer or was given up."""
        dispatches = [
            Dispatch(f"{evaluation_id}.{self._run}", evaluation, self._reply_to)
            for evaluation_id, evaluation in self._evaluations.items()
        ]

        def receive(run_id: str, seen: Observation | None, reason: str | None) -> None:
            self._receive(leg, run_id.rpartition(".")[0], seen, reason)

        await self._exchange.ask(leg, dispatches, receive)

    def _receive(self, leg: Leg, evaluation_id: str, seen: Observation | None, reason: str | None) -> None:
        pair = self._pairs[evaluation_id]
        pair.seen[leg] = seen
        if reason is not None:
            pair.reasons[leg] = reason
        if len(pair.seen) < 2:
            return
        comparison = compare(
            evaluation_id,
            self._evaluations[evaluation_id],
            pair.seen["legacy"],
            pair.seen["celery"],
            pair.reasons,
            self.flow_run_id,
        )
        del self._pairs[evaluation_id]
        self.comparisons.append(comparison)
        self._on_pair(comparison)
