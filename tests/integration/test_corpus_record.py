"""``crucible corpus record``, without a stack: the store is enough."""

import asyncio
from pathlib import Path

import pytest

from crucible.corpus import read
from crucible.ids import new_evaluation_ids
from crucible.store import Store, Submission, sqlite_url
from tests.support.in_process import Run, run
from tests.support.ledger import evaluation

__all__ = ["run"]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of a store into which three programs came, in this order."""
    url = sqlite_url(tmp_path / "store.db")
    asyncio.run(_filled(url, ["first", "second", "third"]))
    return url


async def _filled(url: str, names: list[str]) -> None:
    opened = await Store.open(url)
    programs = [evaluation(name, code=f"print({name!r})") for name in names]
    ids = new_evaluation_ids(len(programs))
    await opened.submit([Submission(*pair, is_traffic=True) for pair in zip(ids, programs, strict=True)])
    await opened.close()


def codes(corpus: Path) -> list[str]:
    return [line.evaluation.code for line in read(corpus)]


def test_the_newest_programs_become_a_corpus(run: Run, store: str, tmp_path: Path) -> None:
    corpus = tmp_path / "recorded.jsonl"
    done = run("corpus", "record", corpus, "--limit", "2", "--json", DATABASE_URL=store)
    assert (done.code, done.document) == (0, {"recorded": 2, "output": str(corpus)})
    assert codes(corpus) == ["print('third')", "print('second')"]


def test_for_people_the_count_is_on_standard_error(run: Run, store: str, tmp_path: Path) -> None:
    done = run("corpus", "record", tmp_path / "recorded.jsonl", DATABASE_URL=store)
    assert (done.code, done.stdout) == (0, "")
    assert "3 recorded" in done.stderr


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(run: Run, store: str, tmp_path: Path) -> None:
    corpus = tmp_path / "recorded.jsonl"
    corpus.write_text("mine")
    done = run("corpus", "record", corpus, DATABASE_URL=store)
    assert (done.code, corpus.read_text()) == (2, "mine")
    assert "--force" in done.stderr
    assert run("corpus", "record", corpus, "--force", DATABASE_URL=store).code == 0
    assert len(codes(corpus)) == 3


def test_where_nothing_came_in_there_is_no_file_and_one_line_says_why(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "recorded.jsonl"
    done = run("corpus", "record", corpus)
    assert done.code == 2
    assert "POST /evaluations" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_a_folder_that_is_not_there_is_told(run: Run, store: str, tmp_path: Path) -> None:
    done = run("corpus", "record", tmp_path / "no" / "recorded.jsonl", DATABASE_URL=store)
    assert done.code == 2
    assert "cannot be written" in done.stderr
