"""The turns of test processes: at most four at a time run tests that need much of the machine."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.turns import TURNS, turn
from tests.support.waiting import patiently


def test_whoever_finds_all_turns_taken_waits_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken = [turn() for _ in range(TURNS)]
    with ThreadPoolExecutor(1) as another:
        next_turn = another.submit(turn)
        with pytest.raises(TimeoutError):
            next_turn.result(timeout=0.5)
        taken.pop().close()
        patiently(next_turn.done)
        taken.append(next_turn.result())
    for each in taken:
        each.close()
