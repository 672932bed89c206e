"""Whatever happens to a ledger, in whatever order and however often: its columns add up."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.ids import new_evaluation_id, new_sweep_id
from crucible.models import Classification, Counts
from crucible.store import Store, Submission
from tests.support.ledger import comparison, evaluation

MISMATCH, NONDETERMINISTIC = Classification.MISMATCH, Classification.NONDETERMINISTIC
SETTLED = [
    MISMATCH,
    Classification.MATCH,
    NONDETERMINISTIC,
    Classification.UNPAIRED,
    Classification.CANCELLED,
]

places = st.integers(0, 7)
submissions = st.tuples(st.just("submit"), st.lists(st.booleans(), max_size=4))
settlements = st.tuples(st.just("settle"), st.lists(st.tuples(places, st.sampled_from(SETTLED)), max_size=6))
second_looks = st.tuples(
    st.just("reclassify"),
    st.tuples(places, st.sampled_from([MISMATCH, NONDETERMINISTIC]), st.integers(0, 4)),
)
histories = st.lists(st.one_of(submissions, settlements, second_looks), max_size=12)


@dataclass
class Expected:
    """What a ledger should hold: a classification, or none yet, and the re-runs behind it."""

    columns: dict[str, Classification | None] = field(default_factory=dict)
    reruns: dict[str, int] = field(default_factory=dict)

    def at(self, place: int) -> str:
        return list(self.columns)[place % len(self.columns)]

    def counts(self) -> Counts:
        counts = Counts().with_submitted(len(self.columns))
        for classification in self.columns.values():
            if classification is not None:
                counts = counts.with_settled(classification)
        return counts


async def submit(store: Store, sweep_id: str, unsampled: list[bool], expected: Expected) -> None:
    entries = [
        Submission(new_evaluation_id(), evaluation(), sweep_id, Classification.NOT_SAMPLED if skip else None)
        for skip in unsampled
    ]
    await store.submit(entries)
    expected.columns |= {entry.id: entry.classification for entry in entries}


async def settle(store: Store, choices: list[tuple[int, Classification]], expected: Expected) -> None:
    if not expected.columns:
        return
    comparisons = [comparison(expected.at(place), kind) for place, kind in choices]
    due = {one.evaluation_id for one in comparisons if expected.columns[one.evaluation_id] is None}
    for one in reversed(comparisons):
        if one.evaluation_id in due:
            expected.columns[one.evaluation_id] = one.classification
    assert len((await store.settle(comparisons)).comparisons) == len(due)


async def reclassify(store: Store, choice: tuple[int, Classification, int], expected: Expected) -> None:
    if not expected.columns:
        return
    place, kind, reruns = choice
    evaluation_id = expected.at(place)
    changes = expected.columns[evaluation_id] is MISMATCH and reruns > expected.reruns.get(evaluation_id, 0)
    again = comparison(evaluation_id, kind).model_copy(update={"reruns": reruns})
    assert await store.reclassify(again) is changes
    if changes:
        expected.columns[evaluation_id], expected.reruns[evaluation_id] = kind, reruns


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories)
async def test_the_columns_add_up_after_any_history(store: Store, history: list[tuple[str, object]]) -> None:
    sweep_id, expected = new_sweep_id(), Expected()
    await store.begin_sweep(sweep_id, {})
    for action, argument in history:
        match action, argument:
            case "submit", list(unsampled):
                await submit(store, sweep_id, unsampled, expected)
            case "settle", list(choices):
                await settle(store, choices, expected)
            case "reclassify", (int(place), Classification() as kind, int(reruns)):
                await reclassify(store, (place, kind, reruns), expected)
        counts = await store.counts(sweep_id)
        assert counts == expected.counts()
        assert counts.settled + len(await store.unsettled(sweep_id, 100)) == counts.submitted

    left = await store.unsettled(sweep_id, 100)
    settled = await store.settle([comparison(evaluation_id) for evaluation_id in left])
    assert len(settled.comparisons) == len(left)
    counts = await store.counts(sweep_id)
    assert counts.balanced
    assert counts.submitted == len(expected.columns)
