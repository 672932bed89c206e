"""Every command of the runbook, in its order, on a real stack whose traffic makes the gates pass."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import runbook
from tests.support.migration import Migration, migration

pytestmark = pytest.mark.stack

GATES = {
    "GATE_P0": "0.2",
    "GATE_FLOOR_S": "60",
    "GATE_MIN_PAIRS_PER_STEP": "5",
    "GATE_MIN_MUTANTS": "5",
    "GATE_MUTANT_SHARE": "1",
    "GATE_MIN_NOISE_RERUNS": "5",
    "GATE_NOISE_SHARE": "1",
    "GATE_CANARY_STEPS": "50,100",
    "GATE_SENTINEL_EVERY_S": "0.2",
}
"""Gates that ask everything, and little of it."""

DRIFTED = ("bash", "date +%z")
"""Differs on executor-3, which has another time zone here."""

Drill = Iterator[str]
"""What happens around one section: up to the yield before its commands, the rest after them.

Yields the evaluation that the section is about, which stands for the one in the text.
"""


def night(at: Migration) -> Drill:
    at.put(stage="live", sample=0)
    with at.frozen("celery-worker"):
        under_way = at.send(4, wait_s=0)
        yield ""
    at.until(lambda: all(at.evaluation(each)["status"] == "settled" for each in under_way), "answers")
    assert {at.evaluation(each)["answered_by"] for each in under_way} == {"legacy"}


def a_cause(at: Migration) -> Drill:
    (found,) = at.send(1, DRIFTED)
    assert at.evaluation(found)["classification"] == "mismatch"
    yield found


def legacy_off(at: Migration) -> Drill:
    yield ""
    before = at.rollout()["strata"]["all"]["matched"]
    at.until(lambda: at.rollout()["strata"]["all"]["matched"] > before, "a pair without users")


def automatic_rollback(at: Migration) -> Drill:
    at.put(stage="canary", share=100)
    at.send(6, DRIFTED, wait_s=0)
    at.until(lambda: at.rollout()["stage"] == "legacy", "the way back")
    yield ""


def by_http(at: Migration) -> Drill:
    assert at.rollout()["stage"] == "shadow"
    yield ""
    assert at.rollout()["stage"] == "legacy"


def undisturbed(_at: Migration) -> Drill:
    yield ""


DRILLS: dict[str, Callable[[Migration], Drill]] = {
    "At 3 a.m.: back to legacy now": night,
    "When a cause blocks": a_cause,
    "Celery: legacy off": legacy_off,
    "After a rollback": automatic_rollback,
    "By HTTP": by_http,
}


def test_every_command_of_the_runbook_works_where_it_stands(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.touch()
    found = runbook.sections()
    assert {section.title for section in found} >= DRILLS.keys()
    with migration(tmp_path, EXECUTOR_3_TZ="Asia/Tokyo", FLOW_RULES_FILE=str(rules), **GATES) as at:
        for section in found:
            drill = DRILLS.get(section.title, undisturbed)(at)
            walk(section, at, next(drill), rules)
            next(drill, None)


def walk(section: runbook.Section, at: Migration, evaluation_id: str, rules: Path) -> None:
    """Do what a section says, and see what it shows."""
    output = ""
    for item in section.items:
        match item.language:
            case "sh":
                output = "".join([at.type(runbook.about(evaluation_id, each)) for each in item.lines])
            case "text":
                missing = [line for line in item.lines if not runbook.is_said(line, output)]
                assert missing == [], f"{section.title}\n{output}"
            case "toml":
                rules.with_name(f"{rules.name}.new").write_text("\n".join(item.lines))
        for command in item.asides:
            at.try_out(command)
