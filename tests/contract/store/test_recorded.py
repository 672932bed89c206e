"""What came in as traffic can be had again, from every kind of store."""

import pytest

from crucible.corpus import validate
from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Evaluation
from crucible.store import Store, Submission
from flows.corpora import recorded_lines
from tests.support.ledger import comparison, evaluation, sweep_of


def programs(*names: str, **more: object) -> list[Evaluation]:
    """One program each, told apart by its name."""
    return [evaluation(name, code=f"print({name!r})", **more) for name in names]


async def submitted(store: Store, evaluations: list[Evaluation]) -> list[str]:
    """Traffic: in the ledger, in this order, of no sweep."""
    ids = new_evaluation_ids(len(evaluations))
    await store.submit([Submission(*pair, is_traffic=True) for pair in zip(ids, evaluations, strict=True)])
    return ids


async def names_of(store: Store, limit: int) -> list[str]:
    return [each.id async for _, each in store.recorded(limit)]


async def test_the_newest_traffic_comes_first_and_sweeps_are_none_of_it(store: Store) -> None:
    await submitted(store, programs("first", "second"))
    await sweep_of(store, ["of a sweep"])
    of_neither = new_evaluation_ids(2)
    await store.submit(
        [
            Submission(of_neither[0], evaluation("by command")),
            Submission(of_neither[1], evaluation("sentinel"), is_traffic=True, reference="ev-1"),
        ]
    )
    third, *_ = await submitted(store, programs("third"))

    assert await names_of(store, 10) == ["third", "second", "first"]
    assert await names_of(store, 2) == ["third", "second"]
    assert await names_of(store, 0) == []
    assert [found async for found in store.recorded(1)] == [(third, programs("third")[0])]


async def test_a_program_that_came_in_often_is_had_once(store: Store) -> None:
    program = {"code": "print(input())", "stdin": "1"}
    await submitted(
        store,
        [
            evaluation("older", **program),
            evaluation("other input", **(program | {"stdin": "2"})),
            evaluation("other limits", limits={"wall_s": 3}, **program),
            evaluation("other language", **(program | {"language": "bash"})),
            evaluation("split elsewhere", code="print(input())1", stdin=""),
            evaluation("newer", priority=9, tags=["a"], **program),
        ],
    )
    expected = ["newer", "split elsewhere", "other language", "other limits", "other input"]
    assert await names_of(store, 10) == expected


@pytest.mark.parametrize("number", [49, 50, 51, 230])
async def test_pages_meet_without_gap_or_overlap_whatever_became_of_each(store: Store, number: int) -> None:
    names = [f"e{index}" for index in range(number)]
    ids = await submitted(store, programs(*names))
    kinds = [None, *(kind for kind in Classification if kind is not Classification.NOT_SAMPLED)]
    settled = [
        comparison(evaluation_id, kind)
        for index, evaluation_id in enumerate(ids)
        if (kind := kinds[index % len(kinds)]) is not None
    ]
    await store.settle(settled)

    assert await names_of(store, 1000) == names[::-1]


async def test_programs_in_between_that_are_had_already_do_not_count(store: Store) -> None:
    await submitted(store, [*programs("old"), *programs(*["same"] * 120)])

    assert await names_of(store, 2) == ["same", "old"]


async def test_recorded_lines_are_a_corpus_although_ids_came_in_twice(store: Store, tmp_path) -> None:
    long = "x" * 200
    await submitted(
        store, [evaluation(name, code=f"print({n})") for n, name in enumerate([long, long, "a", "a"])]
    )
    (unnamed,) = new_evaluation_ids(1)
    await store.submit([Submission(unnamed, evaluation(unnamed, code="print(9)"), is_traffic=True)])

    lines = [line async for line in recorded_lines(store, 100)]
    corpus = tmp_path / "recorded.jsonl"
    corpus.write_text("".join(f"{line}\n" for line in lines))

    assert validate([corpus], {"python"}, {"python"}).lines == 5
    assert f'"id": "{unnamed}"' in lines[0]
    assert '"id": "a ev-' in lines[1]
