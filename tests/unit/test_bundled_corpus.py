"""The bundled corpus covers what it promises. That its expectations hold is for a sweep to say."""

from collections import Counter
from pathlib import Path

import pytest

from crucible.corpus import read, validate
from crucible.models import Evaluation, Outcome

BUNDLED = Path(__file__).parents[2] / "corpora" / "bundled.jsonl"
LANGUAGES = ("bash", "c", "cpp", "javascript", "python")
NOT_THE_PROGRAMS_DOING = {
    Outcome.SECURITY_VIOLATION,
    Outcome.CANCELLED,
    Outcome.QUEUE_TIMEOUT,
    Outcome.REJECTED,
    Outcome.SANDBOX_ERROR,
}


@pytest.fixture(scope="module")
def evaluations() -> list[Evaluation]:
    return [line.evaluation for line in read(BUNDLED)]


def test_every_line_is_valid_and_every_id_is_used_once() -> None:
    summary = validate([BUNDLED], LANGUAGES, LANGUAGES)
    assert summary.lines >= 120
    assert set(summary.per_language) == set(LANGUAGES)


def test_each_language_has_at_least_a_dozen_programs(evaluations: list[Evaluation]) -> None:
    assert min(Counter(each.language for each in evaluations).values()) >= 12


def test_lines_are_sorted_by_id(evaluations: list[Evaluation]) -> None:
    ids = [each.id for each in evaluations]
    assert ids == sorted(ids)


def test_every_line_expects_an_outcome(evaluations: list[Evaluation]) -> None:
    assert [each.id for each in evaluations if not each.expect.outcome] == []


def test_every_outcome_a_program_can_cause_is_there(evaluations: list[Evaluation]) -> None:
    expected = {outcome for each in evaluations for outcome in each.expect.outcome or ()}
    assert set(Outcome) - expected == NOT_THE_PROGRAMS_DOING


def test_exit_codes_that_are_mistaken_for_signals_are_there(evaluations: list[Evaluation]) -> None:
    codes = {each.expect.exit_code for each in evaluations}
    assert codes >= {0, 1, 2, 124, 125, 126, 127, 128, 130, 137, 139, 143, 255}


def test_signals_are_there(evaluations: list[Evaluation]) -> None:
    signals = {each.expect.signal for each in evaluations}
    assert signals >= {"SIGSEGV", "SIGABRT", "SIGFPE", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGPIPE", "SIGINT"}


def test_standard_input_comes_in_sizes_around_a_pipes_buffer(evaluations: list[Evaluation]) -> None:
    assert {len(each.stdin.encode()) for each in evaluations} >= {0, 1, 65536, 65537, 1 << 20}


def test_programs_that_vary_say_so(evaluations: list[Evaluation]) -> None:
    varying = {each.id for each in evaluations if "nondeterministic" in each.tags}
    assert varying == {each.id for each in evaluations if each.declared_nondeterministic}
    assert len(varying) >= 5


def test_time_limits_are_short(evaluations: list[Evaluation]) -> None:
    slow = [each for each in evaluations if "slow" in each.tags]
    assert slow
    assert all(min(each.limits.wall_s, each.limits.cpu_s) <= 1 for each in slow)


def test_programs_that_find_drift_are_there(evaluations: list[Evaluation]) -> None:
    drift = {each.id for each in evaluations if "drift" in each.tags}
    assert {"environment/timezone-python", "environment/hash-order", "environment/memory-use"} <= drift


def test_every_line_says_where_it_comes_from(evaluations: list[Evaluation]) -> None:
    assert {each.source for each in evaluations} == {"Crucible bundled corpus"}
