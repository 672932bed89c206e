"""Dead letters once more: back on their queues, or as new evaluations through both legs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cli.letters import LetterBox, Opened
from cli.migration import opened_store
from cli.sweeping import evaluate_new, flows, stack
from crucible.ids import new_evaluation_ids
from crucible.models import Comparison, Evaluation
from crucible.settings import Settings
from crucible.store import Submission


@dataclass(slots=True)
class Replayed:
    """What became of each letter: ``again`` has those whose program was run again, and what came of that."""

    put_back: list[Opened] = field(default_factory=list)
    again: list[tuple[Opened, Comparison]] = field(default_factory=list)
    unreadable: list[Opened] = field(default_factory=list)


async def replayed(settings: Settings, box: LetterBox, letters: Sequence[Opened]) -> Replayed:
    """Deliver ``letters`` once more and remove those for which that was done.

    What the ledger has no column for yet, or does not know, goes back on its queue: whoever sent it waits
    for it. What is settled is run again as a new evaluation, once for all its letters.
    """
    done = Replayed()
    settled: dict[str, list[Opened]] = {}
    async with opened_store(settings) as store:
        for each in letters:
            if each.run is None or each.evaluation_id is None:
                done.unreadable.append(each)
                continue
            state = await store.evaluation_state(each.evaluation_id)
            if state is not None and state.classification is not None:
                settled.setdefault(state.id, []).append(each)
            elif box.put_back(each):
                done.put_back.append(each)
        found = dict(await store.load(list(settled)))
    if found:
        for old_id, comparison in (await _run_again(settings, found)).items():
            for each in settled[old_id]:
                box.remove(each)
                done.again.append((each, comparison))
    return done


async def _run_again(settings: Settings, found: Mapping[str, Evaluation]) -> dict[str, Comparison]:
    """A new evaluation for each of ``found``, through both legs whatever the migration says."""
    new_ids = new_evaluation_ids(len(found))
    copies = [
        each.model_copy(update={"tags": (*each.tags, f"replay-of:{old_id}")})
        for old_id, each in found.items()
    ]
    async with stack(settings) as state, flows(settings, state) as current:
        submissions = list(map(Submission, new_ids, copies))
        said = "the replay was cancelled; its letters are still there"
        comparisons = await evaluate_new(
            current, f"replay of {len(new_ids)}", submissions, when_cancelled=said
        )
    by_new_id = {each.evaluation_id: each for each in comparisons}
    return {old_id: by_new_id[new_id] for old_id, new_id in zip(found, new_ids, strict=True)}
