"""``crucible rollout`` on a store of its own: what it says, what it refuses, and what it logs."""

import getpass
import sqlite3
from pathlib import Path

import pytest

from tests.support.in_process import Run, run

__all__ = ["run"]


def test_a_fresh_store_is_at_shadow_and_has_no_go(run: Run) -> None:
    found = run("rollout", "status", "--json")
    assert found.code == 0
    assert (found.document["stage"], found.document["go"]) == ("shadow", False)
    assert found.document["next"] == {"stage": "canary", "share": 1.0, "needs_go": True}
    said = run("rollout", "status").stdout
    assert "legacy → [shadow] → canary → live → celery" in said
    assert "… waiting" in said


def test_the_plan_names_every_step(run: Run) -> None:
    steps = run("rollout", "plan", "--json").document["steps"]
    assert [step["stage"] for step in steps] == ["canary"] * 5 + ["live", "celery"]
    assert "7. celery" in run("rollout", "plan").stdout


def test_without_evidence_an_advance_is_refused_with_every_gate(run: Run) -> None:
    refused = run("rollout", "advance", "--reason", "impatience")
    assert refused.code == 1
    for word in ("parity", "mutants", "latency waiting", "325"):
        assert word in refused.stdout
    document = run("rollout", "advance", "--json").document
    assert document["go"] is False
    assert {gate["name"] for gate in document["gates"]} >= {"parity", "noise", "coverage", "rules"}
    assert run("rollout", "status", "--json").document["version"] == 1


def test_back_to_legacy_takes_three_words_and_is_logged(run: Run) -> None:
    assert run("rollout", "rollback").code == 0
    found = run("rollout", "status", "--json").document
    assert (found["stage"], found["spent"], found["changed_by"]) == ("legacy", True, getpass.getuser())
    assert run("rollout", "rollback").code == 0, "whoever types it twice is told no error"
    assert run("rollout", "status", "--json").document == found


def test_forward_again_takes_a_new_epoch(run: Run) -> None:
    run("rollout", "rollback", "--reason", "timeouts", "--actor", "anna")
    refused = run("rollout", "advance")
    assert refused.code == 1
    assert "--new-epoch" in refused.stdout
    assert run("rollout", "set", "--new-epoch", "--reason", "mended").code == 0
    assert run("rollout", "advance").code == 0
    assert run("rollout", "status", "--json").document["stage"] == "shadow"
    assert run("rollout", "verify").code == 0


def test_what_gives_celery_more_is_refused_unless_forced(run: Run) -> None:
    wish = ("rollout", "set", "--stage", "canary", "--share", "5")
    assert run(*wish).code == 1
    assert run(*wish, "--force", "--reason", "a drill").code == 0
    found = run("rollout", "status", "--json").document
    assert (found["stage"], found["share"], found["reason"]) == ("canary", 5.0, "a drill")


def test_rules_are_set_and_dropped(run: Run) -> None:
    done = run(
        "rollout", "set", "--rule", "share=0,language=perl", "--rule", "share=50,tag=a,tag=b", "--json"
    )
    assert done.code == 0
    rules = done.document["after"]["rules"]
    assert [(rule["share"], rule["languages"], rule["tags"]) for rule in rules] == [
        (0.0, ["perl"], []),
        (50.0, [], ["a", "b"]),
    ]
    assert "language perl: 0 %" in run("rollout", "status").stdout
    assert run("rollout", "set", "--no-rules", "--json").document["after"]["rules"] == []


def test_held_it_goes_nowhere(run: Run) -> None:
    assert run("rollout", "set", "--hold").code == 0
    assert "--no-hold" in run("rollout", "advance").stdout
    assert run("rollout", "set", "--no-hold", "--json").document["after"]["held"] is False


@pytest.mark.parametrize(
    "words",
    [
        "rollout",
        "rollout set",
        "rollout set --share 101",
        "rollout set --stage nowhere",
        "rollout set --rule share=0,colour=red",
        "rollout set --rule language=perl",
        "rollout set --rule share=much",
        "rollout set --rule share=200,tag=a",
        "rollout set --rule share=0,priority=12",
        "rollout set --rule share=0 --no-rules",
        "rollout rollback --to celery",
        "rollout run --every 0",
    ],
)
def test_wrong_usage_is_one_line(run: Run, words: str) -> None:
    done = run(*words.split())
    assert (done.code, done.stdout) == (2, ""), done
    assert len(done.stderr.splitlines()) == 1


def alter_log(file: Path) -> None:
    """What somebody could do who has the database in their hands; the log itself can only grow."""
    database = sqlite3.connect(file)
    with database:
        with pytest.raises(sqlite3.IntegrityError):
            database.execute("delete from audit")
        triggers = database.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"drop trigger {name}")
        database.execute("update audit set body = replace(body, 'as it was', 'as I say')")
    database.close()


def test_a_log_that_holds_verifies_and_an_altered_one_does_not(run: Run, tmp_path: Path) -> None:
    run("rollout", "rollback", "--reason", "as it was")
    found = run("rollout", "verify", "--json")
    assert (found.code, found.document["ok"], found.document["faults"]) == (0, True, [])
    alter_log(tmp_path / "home" / "crucible.db")
    altered = run("rollout", "verify")
    assert altered.code == 1
    assert "altered" in altered.stdout


def test_the_pilot_stops_where_it_was_told_and_after_a_rollback(run: Run) -> None:
    assert run("rollout", "run", "--until", "shadow", "--json").code == 0
    run("rollout", "rollback")
    ended = run("rollout", "run", "--until", "canary")
    assert (ended.code, ended.stdout) == (1, "legacy: the epoch ended in a rollback\n")
