"""The steps ahead, one after another, and what stands in the way of each."""

import pytest

from crucible.rollout.assessment import Assessment, EpochInputs
from crucible.rollout.gates import assess
from crucible.rollout.stage import Rollout, Stage
from crucible.rollout.status import Step, in_the_way, next_step, plan
from tests.support.epochs import CANARY, SETTINGS, inputs


def at(stage: Stage, share: float = 0) -> Rollout:
    return Rollout(stage=stage, share=share, epoch=3)


def assessed(counted: EpochInputs, rollout: Rollout = CANARY) -> Assessment:
    return assess(counted, rollout, SETTINGS, budgets={}, since_seq=0)


def test_the_whole_way() -> None:
    shown = [(step.stage.value, step.share, step.needs_go) for step in plan(at(Stage.LEGACY), SETTINGS)]
    assert shown == [
        ("shadow", 0, False),
        *(("canary", share, True) for share in (1, 5, 25, 50, 100)),
        ("live", 100, True),
        ("celery", 100, True),
    ]


@pytest.mark.parametrize(
    ("rollout", "stage", "share"),
    [
        (at(Stage.SHADOW), Stage.CANARY, 1),
        (at(Stage.CANARY, 1), Stage.CANARY, 5),
        (at(Stage.CANARY, 3), Stage.CANARY, 5),
        (at(Stage.CANARY, 100), Stage.LIVE, 100),
        (at(Stage.LIVE, 100), Stage.CELERY, 100),
    ],
)
def test_the_next_step(rollout: Rollout, stage: Stage, share: float) -> None:
    assert next_step(rollout, SETTINGS) == Step(stage=stage, share=share)


def test_there_is_an_end() -> None:
    assert next_step(at(Stage.CELERY, 100), SETTINGS) is None


def test_walking_the_steps_is_the_plan() -> None:
    rollout, walked = at(Stage.LEGACY), []
    while step := next_step(rollout, SETTINGS):
        walked.append(step)
        rollout = at(step.stage, step.share)
    assert tuple(walked) == plan(at(Stage.LEGACY), SETTINGS)


def test_shadowing_needs_no_evidence_and_every_other_step_all_of_it() -> None:
    nothing = assessed(EpochInputs(epoch=3))
    first, *others = plan(at(Stage.LEGACY), SETTINGS)
    assert in_the_way(first, nothing) == ()
    for step in others:
        assert in_the_way(step, nothing) == nothing.refusing != ()
        assert in_the_way(step, assessed(inputs())) == ()


def test_not_even_shadowing_begins_while_held_or_in_a_spent_epoch() -> None:
    first = plan(at(Stage.LEGACY), SETTINGS)[0]
    for stuck in (at(Stage.LEGACY).model_copy(update=change) for change in ({"held": True}, {"spent": 3})):
        assert [gate.name for gate in in_the_way(first, assessed(inputs(), stuck))] == ["state"]
