"""Ids are unique, sorted by time and alike in form."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from crucible.ids import made_at, new_evaluation_id, new_evaluation_ids, new_sweep_id, random_id

FORM = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


def test_an_id_is_a_prefix_and_26_characters_of_crockfords_base_32() -> None:
    assert re.fullmatch(f"ev-{FORM}", new_evaluation_id())
    assert re.fullmatch(f"sw-{FORM}", new_sweep_id())


def test_ids_ascend_in_the_order_they_are_made() -> None:
    ids = [new_evaluation_id() for _ in range(2000)] + new_evaluation_ids(2000) + [new_evaluation_id()]

    assert ids == sorted(set(ids))


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(new_evaluation_ids, [500] * 16))

    assert len({one for batch in batches for one in batch}) == 8000
    assert all(batch == sorted(batch) for batch in batches)


def test_a_clock_that_steps_back_does_not_bring_ids_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_evaluation_id()
    monkeypatch.setattr("crucible.ids.time_ns", lambda: 0)
    during = new_evaluation_ids(3)

    assert [before, *during] == sorted({before, *during})


def test_a_forked_process_makes_ids_of_its_own() -> None:
    new_evaluation_id()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, " ".join(new_evaluation_ids(200)).encode())
        os._exit(0)
    ours = new_evaluation_ids(200)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        theirs = pipe.read().split()
    os.waitpid(child, 0)

    assert len(theirs) == 200
    assert not set(ours) & set(theirs)


def test_an_id_tells_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = made_at(new_sweep_id())
    assert before <= made <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "ev-", "ev-unknown", "ev-" + "U" * 26, "ev-" + "é" * 26])
def test_what_is_no_id_tells_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no id of Crucible's"):
        made_at(text)


def test_an_id_drawn_between_two_lies_between_them() -> None:
    first, *_, last = new_evaluation_ids(50)
    drawn = {random_id(first, last) for _ in range(100)}
    assert len(drawn) > 50
    assert all(first <= each <= last for each in drawn)
    assert random_id(first, first) == first
