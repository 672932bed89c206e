"""Every gate can block, none says GO for want of data, and less data never makes passing easier."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.rollout.assessment import (
    ALL,
    Assessment,
    Columns,
    EpochInputs,
    GateState,
    LegTimes,
    MutantCount,
    NoiseCount,
)
from crucible.rollout.gates import assess
from crucible.rollout.stage import Rollout, Stage
from tests.support.epochs import CANARY, SETTINGS, columns, inputs, strata

BUDGETS = {"addresses": 0.05}
SLOW = LegTimes(pairs=800, legacy_low=0.1, celery_high=0.2)


def judged(counted: EpochInputs, rollout: Rollout = CANARY, **others: Any) -> Assessment:
    return assess(counted, rollout, SETTINGS, **{"budgets": BUDGETS, "since_seq": 900, **others})


def test_all_gates_together_are_a_go() -> None:
    found = judged(inputs())
    assert found.go
    assert {gate.state for gate in found.gates} == {GateState.GO}
    assert len({gate.name for gate in found.gates}) == len(found.gates) == 9


def test_nothing_counted_is_no_go_of_any_gate_that_rests_on_counts() -> None:
    found = judged(EpochInputs(epoch=3), since_seq=0)
    assert not found.go
    waiting = {gate.name for gate in found.gates if gate.state is GateState.WAITING}
    assert waiting == {
        "coverage",
        "parity",
        "latency_execution",
        "latency_waiting",
        "noise",
        "mutants",
        "step",
    }


@pytest.mark.parametrize(
    ("gate", "changes", "state", "says"),
    [
        ("coverage", {"overdue": 3}, "blocked", "3 evaluations waited for more than 15 min"),
        ("coverage", {"unconfirmed": 1}, "waiting", "1 mismatch must be run again"),
        ("latency_execution", {"execution": SLOW}, "waiting", "200 ms; 175 ms are allowed"),
        ("latency_waiting", {"waiting_time": SLOW}, "waiting", "200 ms; 175 ms are allowed"),
        ("latency_waiting", {"waiting_time": LegTimes(pairs=9)}, "waiting", "9 pairs: too few"),
        ("noise", {"noise": NoiseCount(reruns=19)}, "waiting", "19 of 20"),
        ("noise", {"noise": NoiseCount(reruns=19, only_celery=7)}, "blocked", "7 differ in Celery alone"),
        ("mutants", {"mutants": {"exit_code": MutantCount(planted=19, caught=19)}}, "waiting", "19 of 20"),
        ("mutants", {"mutants": {"cut": MutantCount(planted=30, caught=29)}}, "blocked", "1 planted fault"),
        ("mutants", {"pairs_since_mutant": 501}, "blocked", "stopped arriving"),
        ("rules", {"rule_uses": {"addresses": 200}}, "blocked", "addresses"),
        ("rules", {"rule_uses": {"addresses": 34}}, "waiting", "to go"),
        ("rules", {"rule_uses": {"unheard-of": 1}}, "blocked", "unheard-of"),
        ("step", {"seq": 949}, "waiting", "49 new pairs"),
    ],
)
def test_every_gate_refuses_alone_and_says_why(
    gate: str, changes: dict[str, Any], state: str, says: str
) -> None:
    found = judged(inputs(**changes))
    assert not found.go
    assert [each.name for each in found.refusing] == [gate]
    assert found.gate(gate).state == state
    assert says in found.gate(gate).reason


def test_a_rule_within_its_budget_passes_and_an_expired_one_blocks_as_long_as_it_is_needed() -> None:
    used = inputs(rule_uses={"addresses": 10, "idle": 0})
    assert judged(used, expired=["idle"]).go
    found = judged(used, expired=["addresses"])
    assert found.gate("rules").state is GateState.BLOCKED
    assert "Expired and still needed: addresses" in found.gate("rules").reason


@pytest.mark.parametrize(("uses", "is_known"), [(10, True), (34, True), (200, False)])
def test_what_a_rule_has_to_go_is_told_unless_no_number_of_pairs_would_do(
    uses: int, *, is_known: bool
) -> None:
    gate = judged(inputs(rule_uses={"addresses": uses})).gate("rules")
    assert (gate.numbers["pairs_to_go"] is not None) is is_known
    assert gate.numbers["used"] == 1


def test_more_uses_of_a_rule_than_pairs_are_judged_too() -> None:
    assert not judged(inputs({"python": columns(0)}, rule_uses={"addresses": 3})).go


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        (CANARY.model_copy(update={"held": True}), "--no-hold"),
        (CANARY.model_copy(update={"spent": 3}), "--new-epoch"),
    ],
)
def test_a_held_migration_and_a_spent_epoch_go_nowhere(rollout: Rollout, says: str) -> None:
    found = judged(inputs(), rollout)
    assert [gate.name for gate in found.refusing] == ["state"]
    assert says in found.gate("state").reason


def test_an_epoch_spent_before_does_not_matter() -> None:
    assert judged(inputs(), CANARY.model_copy(update={"spent": 2})).go


@pytest.mark.parametrize(
    "wrong",
    [
        {ALL: Columns(submitted=801, matched=800), "language:c": Columns(submitted=801, matched=800)},
        {ALL: columns(800), "language:c": columns(799)},
        {ALL: columns(800)},
        {"language:c": columns(800)},
    ],
)
def test_a_ledger_that_does_not_add_up_blocks(wrong: dict[str, Columns]) -> None:
    found = judged(inputs(strata=wrong))
    assert found.gate("coverage").state is GateState.BLOCKED
    assert "do not add up" in found.gate("coverage").reason


def test_what_was_not_sampled_is_reported_and_no_evidence() -> None:
    found = judged(inputs({"python": columns(324, not_sampled=676)}))
    assert found.gate("coverage").numbers["not_sampled_share"] == pytest.approx(0.676)
    assert found.strata["language:python"].not_sampled_share == pytest.approx(0.676)
    assert found.strata["language:python"].pairs_to_go == 1
    assert not found.go


def test_what_has_no_answer_counts_against_celery() -> None:
    assert not judged(inputs({"python": columns(500, unpaired=1)})).go
    assert judged(inputs({"python": columns(700, unpaired=1)})).go


def test_differences_too_short_to_notice_do_not_count() -> None:
    quick = LegTimes(pairs=800, legacy_low=0.001, celery_high=0.05)
    assert judged(inputs(execution=quick)).go


def test_the_numbers_of_every_gate_are_numbers_in_json() -> None:
    numbers = judged(inputs()).model_dump(mode="json")["gates"]
    assert all(
        value is None or isinstance(value, int | float)
        for gate in numbers
        for value in gate["numbers"].values()
    )


COUNT = st.integers(0, 3000)


@st.composite
def epochs(draw: st.DrawFn) -> tuple[EpochInputs, EpochInputs]:
    """An epoch, and the same with fewer matches, re-runs and mutants, as it was some time before."""
    languages = {
        name: draw(COUNT) for name in draw(st.sets(st.sampled_from(("c", "go", "perl")), max_size=3))
    }
    against = {name: draw(st.integers(0, 2)) for name in languages}
    reruns, planted, seq = draw(st.integers(10, 60)), draw(st.integers(10, 60)), draw(COUNT)
    uses = draw(st.integers(0, 20))

    def seen(part: float) -> EpochInputs:
        counted = {
            name: columns(int(matched * part), mismatched=against[name])
            for name, matched in languages.items()
        }
        caught = int(planted * part)
        return inputs(
            strata=strata(counted),
            mutants={"cut": MutantCount(planted=caught, caught=caught)},
            noise=NoiseCount(reruns=int(reruns * part), only_celery=min(2, int(reruns * part))),
            seq=900 + int(seq * part),
            rule_uses={"addresses": uses},
        )

    return seen(1), seen(draw(st.floats(0, 1)))


@given(epochs())
def test_less_data_never_makes_passing_easier(pair: tuple[EpochInputs, EpochInputs]) -> None:
    later, earlier = pair
    assert judged(later).go or not judged(earlier).go


@given(epochs())
def test_a_stratum_without_pairs_never_passes(pair: tuple[EpochInputs, EpochInputs]) -> None:
    counted, _ = pair
    empty = {**counted.strata, "language:cobol": Columns()}
    assert not judged(counted.model_copy(update={"strata": empty})).go


def test_the_same_assessment_comes_back_from_its_json() -> None:
    found = judged(inputs({"python": columns(500, mismatched=3)}), Rollout(stage=Stage.SHADOW, epoch=3))
    assert Assessment.model_validate_json(found.model_dump_json()) == found
