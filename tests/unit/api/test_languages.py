"""When executors are asked which languages they run."""

from collections.abc import Iterator

import pytest

from api import readiness as module
from api.readiness import Languages
from crucible.errors import ExecutorUnavailable
from tests.support.stub_executor import TOKEN, StubExecutor


@pytest.fixture
def executors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StubExecutor]]:
    """Two executors that run python; waiting for one that is away is short."""
    monkeypatch.setattr(module, "_ASK_S", 0.1)
    monkeypatch.setattr(module, "_ASK_AGAIN_AFTER_S", 0.0)
    started = [StubExecutor(), StubExecutor()]
    for each in started:
        each.start()
    yield started
    for each in started:
        each.stop()


def languages_of(executors: list[StubExecutor]) -> Languages:
    return Languages([each.url for each in executors], TOKEN)


async def test_what_every_executor_runs_can_be_run(executors: list[StubExecutor]) -> None:
    assert await languages_of(executors).with_all_of(["python"]) == {"python"}
    assert await languages_of(executors).with_all_of(["python", "cobol"]) == {"python"}


async def test_nothing_is_known_while_an_executor_has_never_answered(executors: list[StubExecutor]) -> None:
    executors[1].stop()
    languages = languages_of(executors)
    with pytest.raises(ExecutorUnavailable):
        await languages.with_all_of(["python"])
    executors[1].start()
    assert await languages.with_all_of(["python"]) == {"python"}


async def test_what_was_known_stays_known_when_an_executor_is_away(executors: list[StubExecutor]) -> None:
    languages = languages_of(executors)
    await languages.with_all_of(())
    executors[1].stop()
    assert await languages.with_all_of(["python"]) == {"python"}
    assert await languages.with_all_of(["cobol"]) == {"python"}
