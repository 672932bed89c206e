"""Delta debugging: what is left is interesting, a subsequence, and as small as the cap allows."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.minimise import Minimised, minimise

Question = Callable[[tuple[int, ...]], bool]


class Oracle:
    """A predicate that remembers what it was asked."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.waves: list[list[tuple[int, ...]]] = []

    async def __call__(self, candidates: Sequence[tuple[int, ...]]) -> Sequence[bool]:
        self.waves.append(list(candidates))
        return [self.question(each) for each in candidates]

    @property
    def asked(self) -> list[tuple[int, ...]]:
        return [each for wave in self.waves for each in wave]


def reduced(items: Sequence[int], oracle: Oracle, at_most: int = 10_000, at_once: int = 12) -> Minimised[int]:
    return asyncio.run(minimise(items, oracle, at_most=at_most, at_once=at_once))


def holding(needed: set[int]) -> Question:
    return lambda candidate: needed <= set(candidate)


def is_subsequence(part: Sequence[int], whole: Sequence[int]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


# Any function of the items will do: interest need not grow with the sequence.
QUESTIONS = st.one_of(
    st.sets(st.integers(0, 15), max_size=4).map(holding),
    st.integers(0, 2**32).map(
        lambda seed: lambda candidate: hash((seed, candidate)) % 3 == 0 or len(candidate) > 9
    ),
)
ITEMS = st.lists(st.integers(0, 15), max_size=14)


@given(items=ITEMS, question=QUESTIONS, at_most=st.integers(0, 60), at_once=st.integers(1, 9))
def test_whatever_the_cap_the_result_is_interesting_and_a_subsequence(
    items: list[int], question: Question, at_most: int, at_once: int
) -> None:
    oracle = Oracle(question)
    found = reduced(items, oracle, at_most, at_once)
    assert found.items == tuple(items) or question(found.items)
    assert is_subsequence(found.items, items)
    assert found.asked == len(oracle.asked) <= at_most
    assert all(0 < len(wave) <= at_once for wave in oracle.waves)


@given(items=ITEMS, question=QUESTIONS, at_once=st.integers(1, 9))
def test_where_the_cap_is_not_met_no_single_item_can_be_left_out(
    items: list[int], question: Question, at_once: int
) -> None:
    found = reduced(items, Oracle(question), at_once=at_once)
    assert found.minimal
    kept = found.items
    assert not any(question(kept[:index] + kept[index + 1 :]) for index in range(len(kept)))


@given(items=ITEMS, question=QUESTIONS, at_once=st.integers(1, 9))
def test_nothing_is_asked_about_twice_and_never_the_whole(
    items: list[int], question: Question, at_once: int
) -> None:
    oracle = Oracle(question)
    reduced(items, oracle, at_once=at_once)
    assert len(oracle.asked) == len(set(oracle.asked))
    assert tuple(items) not in oracle.asked


def test_a_pair_far_apart_is_found_among_a_thousand_with_few_questions() -> None:
    oracle = Oracle(holding({17, 940}))
    assert reduced(range(1000), oracle).items == (17, 940)
    assert len(oracle.asked) < 400


def test_with_no_question_left_what_is_there_is_given_and_not_called_minimal() -> None:
    oracle = Oracle(holding({3}))
    assert reduced([1, 2, 3], oracle, at_most=0) == Minimised((1, 2, 3), 0, minimal=False)
    assert oracle.waves == []


def test_what_is_always_interesting_is_reduced_to_nothing_by_one_question() -> None:
    oracle = Oracle(lambda _candidate: True)
    assert reduced([1, 2, 3, 4], oracle, at_once=1) == Minimised((), 1, minimal=True)


def test_nothing_is_minimal_without_a_question() -> None:
    oracle = Oracle(lambda _candidate: True)
    assert reduced([], oracle) == Minimised((), 0, minimal=True)
    assert oracle.waves == []


def test_a_predicate_that_fails_is_heard() -> None:
    async def fails(_candidates: Sequence[tuple[int, ...]]) -> Sequence[bool]:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        asyncio.run(minimise([1, 2], fails, at_most=5))
