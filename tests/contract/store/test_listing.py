"""Lists of the store, on both databases: every filter, newest first, and pages that meet without a seam."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from crucible.ids import made_at, new_evaluation_ids, new_sweep_id
from crucible.models import Classification, Comparison, Evaluation
from crucible.store import Store, Submission
from crucible.store.listing import EvaluationFilter
from tests.support.comparisons import seen

LANGUAGES = ("python", "ruby")
UNEXPECTED = (2, 3, 7)
HOUR = timedelta(hours=1)


@pytest.fixture
async def filled(store: Store) -> list[str]:
    """The ids of twelve evaluations: in turn of two languages, tagged, half in a sweep, three unexpected."""
    sweep_id = new_sweep_id()
    await store.begin_sweep(sweep_id, {})
    ids = new_evaluation_ids(12)
    submissions = [
        Submission(
            each,
            Evaluation(id=f"n-{i}", language=LANGUAGES[i % 2], code="", tags=(f"third-{i % 3}", "all")),
            sweep_id if i < 6 else None,
        )
        for i, each in enumerate(ids)
    ]
    await store.submit(submissions)
    await store.settle([_settled(each, i) for i, each in enumerate(ids) if i % 4])
    return ids


def _settled(evaluation_id: str, i: int) -> Comparison:
    kind = Classification.MISMATCH if i % 4 == 1 else Classification.MATCH
    return Comparison(
        evaluation_id=evaluation_id,
        name=f"n-{i}",
        language=LANGUAGES[i % 2],
        classification=kind,
        missed_expectations=("the author asserts otherwise",) if i in UNEXPECTED else (),
        legacy=seen(),
        celery=None if i % 4 == 3 else seen(),
        cause="c0ffee" if kind is Classification.MISMATCH else None,
    )


def wanted_by(ids: list[str]) -> dict[str, tuple[EvaluationFilter, Callable[[int], bool]]]:
    """Filters by name, each with what fits it among the twelve."""
    return {
        "nothing": (EvaluationFilter(), lambda _: True),
        "open": (EvaluationFilter(status="submitted"), lambda i: i % 4 == 0),
        "settled": (EvaluationFilter(status="settled"), lambda i: i % 4 != 0),
        "mismatch": (EvaluationFilter(classification=Classification.MISMATCH), lambda i: i % 4 == 1),
        "language": (EvaluationFilter(language="ruby"), lambda i: i % 2 == 1),
        "name": (EvaluationFilter(name="n-7"), lambda i: i == 7),
        "tag": (EvaluationFilter(tag="third-2"), lambda i: i % 3 == 2),
        "cause": (EvaluationFilter(cause="c0ffee"), lambda i: i % 4 == 1),
        "two": (EvaluationFilter(tag="all", language="python", status="settled"), lambda i: i % 4 == 2),
        "unexpected": (EvaluationFilter(unexpected=True), lambda i: i in UNEXPECTED),
        "not unexpected": (EvaluationFilter(unexpected=False), lambda i: i not in UNEXPECTED),
        "since before": (EvaluationFilter(since=made_at(ids[0]) - HOUR), lambda _: True),
        "since after": (EvaluationFilter(since=made_at(ids[0]) + HOUR), lambda _: False),
        "until before": (EvaluationFilter(until=made_at(ids[0]) - HOUR), lambda _: False),
        "until after": (EvaluationFilter(until=made_at(ids[0]) + HOUR), lambda _: True),
    }


NAMES = sorted(wanted_by(new_evaluation_ids(1)))


@pytest.mark.parametrize("name", NAMES)
async def test_a_filter_finds_what_fits_it_newest_first(store: Store, filled: list[str], name: str) -> None:
    wanted, fits = wanted_by(filled)[name]
    found = await store.listing.evaluations(wanted, None, 100)
    expected = [each for i, each in enumerate(filled) if fits(i)]
    assert [each.id for each in found] == expected[::-1]


@pytest.mark.parametrize("name", NAMES)
async def test_pages_meet_without_a_seam(store: Store, filled: list[str], name: str) -> None:
    wanted, _ = wanted_by(filled)[name]
    whole = await store.listing.evaluations(wanted, None, 100)
    pages, before = [], None
    while page := await store.listing.evaluations(wanted, before, 2):
        pages += page
        before = page[-1].id
    assert pages == whole


@pytest.mark.parametrize("status", [None, "submitted", "settled"])
async def test_those_of_a_sweep(store: Store, filled: list[str], status: str | None) -> None:
    (sweep,) = await store.listing.sweeps(None, 10)
    wanted = EvaluationFilter(sweep_id=sweep.id, status=status)
    fits = {None: lambda _: True, "submitted": lambda i: i % 4 == 0, "settled": lambda i: i % 4 != 0}[status]
    expected = [each for i, each in enumerate(filled[:6]) if fits(i)]
    found = await store.listing.evaluations(wanted, None, 100)
    assert [each.id for each in found] == expected[::-1]
    assert [each.id for each in await store.listing.evaluations(wanted, None, 2)] == expected[::-1][:2]


@pytest.mark.parametrize(("language", "expected"), [(None, [3, 2]), ("python", [2]), ("ruby", [3])])
async def test_those_of_a_sweep_that_are_unexpected(
    store: Store, filled: list[str], language: str | None, expected: list[int]
) -> None:
    (sweep,) = await store.listing.sweeps(None, 10)
    wanted = EvaluationFilter(sweep_id=sweep.id, unexpected=True, language=language)
    found = await store.listing.evaluations(wanted, None, 100)
    assert [each.id for each in found] == [filled[i] for i in expected]


async def test_a_line_says_what_each_leg_saw(store: Store, filled: list[str]) -> None:
    found = {each.name: each for each in await store.listing.evaluations(EvaluationFilter(), None, 100)}
    both, one, none = found["n-5"], found["n-3"], found["n-4"]
    assert both.legacy
    assert both.celery
    assert (both.legacy.outcome, both.celery.outcome) == ("ok", "ok")
    assert (both.classification, both.cause, both.language) == (Classification.MISMATCH, "c0ffee", "ruby")
    assert one.legacy
    assert one.celery is None
    assert (none.legacy, none.celery, none.classification, none.settled_at) == (None, None, None, None)
    assert len(await store.listing.durations(100)) == 15


async def test_sweeps_newest_first_with_their_verdicts(store: Store) -> None:
    ids = [new_sweep_id() for _ in range(3)]
    for each in ids:
        await store.begin_sweep(each, {})
    assert [each.id for each in await store.listing.sweeps(None, 10)] == ids[::-1]
    assert [each.id for each in await store.listing.sweeps(ids[1], 10)] == ids[:1]
    found = await store.listing.sweep(ids[0])
    assert found
    assert (found.verdict, found.finished_at) == (None, None)
    assert await store.listing.sweep(new_sweep_id()) is None


async def test_a_sweep_that_was_announced_may_begin(store: Store) -> None:
    sweep_id = new_sweep_id()
    await store.announce_sweep(sweep_id, {"announced": True})
    await store.begin_sweep(sweep_id, {"limit": 3})
    assert [each.id for each in await store.listing.sweeps(None, 10)] == [sweep_id]
