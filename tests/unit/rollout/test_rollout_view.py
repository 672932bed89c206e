"""What is shown at night fits the terminal, says states in words, and lets no text from outside act."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from cli.terminal.rollout_view import (
    bar_of,
    render_change,
    render_moment,
    render_plan,
    render_refusal,
    render_status,
)
from crucible.rollout.assessment import Columns, EpochInputs, MutantCount, NoiseCount
from crucible.rollout.epoch import AuditEntry
from crucible.rollout.gates import assess
from crucible.rollout.stage import Rollout, RouteRule, Stage, back, changed
from crucible.rollout.status import Moment, RolloutStatus, detector_status, next_step, plan, status
from tests.support.epochs import CANARY, FAST, SETTINGS, columns, inputs

MANY = 12_345_678
LONG = "a-very-long-name-" * 6
NASTY = "Anna\x1b[31m\u202e\nroot"


def text(view: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False, color_system=None).print(view)
    return out.getvalue()


def shown(
    counted: EpochInputs, rollout: Rollout = CANARY, actor: str = "anna", reason: str = ""
) -> RolloutStatus:
    found = assess(counted, rollout, SETTINGS, budgets={}, since_seq=990)
    entry = AuditEntry(
        seq=1,
        at=datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC),
        actor=actor,
        action="set",
        reason=reason,
        before=rollout,
        after=rollout,
        evidence_seq=0,
        grounds={},
    )
    detector = detector_status({"all": 0.0, "language:c": 11.5}, SETTINGS.alarm_at)
    return status(rollout, counted, found, next_step(rollout, SETTINGS), entry, detector)


FULL = EpochInputs(
    epoch=3,
    seq=MANY,
    strata={
        "all": columns(MANY, mismatched=MANY, unpaired=MANY, not_sampled=MANY, cancelled=MANY, waiting=MANY),
        f"language:{LONG}": columns(MANY),
        "language:c": columns(400, mismatched=30),
        "tag:none": Columns(),
    },
    overdue=MANY,
    unconfirmed=MANY,
    mutants={f"kind_number_{number}": MutantCount(planted=MANY, caught=1) for number in range(9)},
    pairs_since_mutant=MANY,
    noise=NoiseCount(reruns=MANY, only_celery=200, only_legacy=3),
    rule_uses={LONG: 5},
    execution=FAST,
    waiting_time=FAST,
    causes={LONG: 99, "b": 2, "c": 1, "d": 1},
)
EVERYTHING = shown(
    FULL,
    CANARY.model_copy(update={"rules": (RouteRule(share=0.5, languages=("c", LONG), tenants=(NASTY,)),)}),
    actor=NASTY,
    reason=LONG + NASTY,
)


@pytest.mark.parametrize("view", ["status", "refusal", "plan", "change", "empty"])
def test_no_line_is_longer_than_the_terminal_is_wide(view: str) -> None:
    rollout = Rollout(rules=EVERYTHING.rules)
    views = {
        "status": render_status(EVERYTHING),
        "refusal": render_refusal("Refused.", assess(FULL, CANARY, SETTINGS, budgets={}, since_seq=0)),
        "plan": render_plan(rollout, plan(rollout, SETTINGS)),
        "change": render_change(CANARY, rollout),
        "empty": render_status(shown(EpochInputs(epoch=0), Rollout())),
    }
    assert max(map(len, text(views[view]).splitlines())) <= 80


def test_text_from_outside_moves_no_cursor() -> None:
    said = text(render_status(EVERYTHING)) + text(render_change(CANARY, Rollout(rules=EVERYTHING.rules)))
    assert not set(said) & {"\x1b", "\u202e"}
    assert "Anna" in said


def test_the_stage_the_last_change_and_the_way_back_are_said() -> None:
    said = text(render_status(shown(inputs(), actor="anna", reason="all quiet")))
    assert "legacy → shadow → [canary 5 %] → live → celery" in said
    assert "2026-11-22 03:04:05 UTC by anna: all quiet" in said
    assert "crucible rollout rollback" in said
    assert "canary 25 %: not yet, for 1 gate of 9" in said
    assert "83% of the way to the alarm" not in said
    assert "79% of the way to the alarm (language:c)" in said


def test_a_spent_epoch_a_hold_and_the_sample_are_said_above_the_gates() -> None:
    live = Rollout(stage=Stage.LIVE, share=100, sample=10, epoch=3, spent=3, version=7, held=True)
    said = text(render_status(shown(inputs(), live)))
    assert "epoch    3, spent by a rollback, version 7, held" in said
    assert "10 % of what Celery answers is shadowed by legacy" in said


def test_every_state_of_a_gate_is_a_word() -> None:
    said = text(render_status(shown(inputs(overdue=2, noise=NoiseCount(reruns=1)))))
    for word in ("✓ go", "… waiting", "✗ blocked"):
        assert word in said


def test_what_never_passes_says_so_and_what_to_mend() -> None:
    counted = inputs({"c": columns(100, mismatched=9), "go": columns(900)}, causes={"f3a9": 9})
    said = text(render_status(shown(counted)))
    assert "never so" in said
    assert "2 strata: never at this rate; mend cause f3a9 first" in said


def test_the_ledger_is_shown_as_the_sum_that_it_is() -> None:
    said = text(render_status(shown(inputs({"c": columns(900, unpaired=2, not_sampled=3)}))))
    assert "905 submitted = 900 matched + 0 mismatched" in said


def test_when_all_say_go_the_command_is_named() -> None:
    assert "canary 25 %: GO (crucible rollout advance)" in text(render_status(shown(inputs(seq=2000))))


def test_beginning_to_shadow_waits_for_no_gate() -> None:
    said = text(render_status(shown(EpochInputs(epoch=0), Rollout(stage=Stage.LEGACY))))
    assert "shadow: GO" in said
    assert "crucible rollout rollback" not in said


def test_at_the_end_of_the_way_there_is_no_next_step() -> None:
    end = Rollout(stage=Stage.CELERY, share=100)
    assert "next" not in text(render_status(shown(inputs(), end)))
    assert "Nothing is ahead" in text(render_plan(end, ()))


def test_a_refusal_names_all_gates_and_the_pairs_to_go() -> None:
    found = assess(inputs({"c": columns(300)}), CANARY, SETTINGS, budgets={}, since_seq=0)
    said = text(render_refusal("Refused; nothing was changed.", found))
    for gate in found.gates:
        assert gate.name.replace("_", " ") in said
    assert "language:c" in said
    assert "25" in said


def test_a_change_is_told_by_what_differs() -> None:
    after = CANARY.model_copy(update={"share": 25.0, "held": True, "version": 9})
    said = text(render_change(CANARY, after))
    assert "version 9, share 5 % → 25 %, held no → yes" in said


def test_a_rollback_says_who_answers_from_now_on() -> None:
    live = Rollout(stage=Stage.LIVE, share=100, epoch=3)
    home, part = (text(render_change(live, back(live, to))) for to in (Stage.LEGACY, Stage.CANARY))
    assert "Legacy answers all that is new, and what is under way. The epoch is spent." in home
    assert "Legacy answers what is under way. The epoch is spent." in part
    assert "spent" not in text(render_change(back(live), changed(back(live), held=True)))


def test_the_pilots_looks_are_single_lines() -> None:
    found = assess(inputs(overdue=1), CANARY, SETTINGS, budgets={}, since_seq=0)
    assert text(render_moment(Moment(CANARY, found))) == "canary 5 %: waiting for coverage\n"
    spent = CANARY.model_copy(update={"stage": Stage.LEGACY, "spent": 3})
    assert text(render_moment(Moment(spent))) == "legacy: the epoch ended in a rollback\n"


@pytest.mark.parametrize(
    ("value", "filled"), [(0.0, 0), (1.0, 0), (4.5, 4), (19.99, 7), (20.0, 8), (1e300, 8)]
)
def test_a_bar_is_full_when_the_threshold_is_reached_and_not_before(value: float, filled: int) -> None:
    assert bar_of(value, 20)[0].count("█") == filled


def test_a_status_is_json_with_the_keys_that_others_rely_on() -> None:
    document = EVERYTHING.model_dump(mode="json")
    assert RolloutStatus.model_validate(document) == EVERYTHING
    assert {"stage", "share", "sample", "version", "epoch", "held", "spent", "since", "changed_by"} <= set(
        document
    )
    assert {"reason", "go", "gates", "strata", "next", "mutants", "noise", "latency", "causes"} <= set(
        document
    )
    assert document["strata"]["language:c"]["submitted"] == 430
    assert document["strata"]["language:c"]["pairs_to_go"] is None
    assert document["next"] == {"stage": "canary", "share": 25.0, "needs_go": True}


@pytest.mark.parametrize(("detectors", "times"), [((), 1), (("all",), 1), (("all", "language:c"), 2)])
def test_detectors_share_the_budget_of_false_alarms(detectors: tuple[str, ...], times: int) -> None:
    found = detector_status(dict.fromkeys(detectors, 0.0), alarm_at=100.0)
    assert found.alarm_at == 100.0 * times
    assert found.statistics == dict.fromkeys(detectors, 1.0)
