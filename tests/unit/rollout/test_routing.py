"""Where evaluations go: evenly, by the same rule in every process, and never back when the share grows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.models import Evaluation
from crucible.rollout.stage import (
    BUCKETS,
    Rollout,
    Route,
    RouteRule,
    Stage,
    bucket,
    is_within,
    route,
    without_shadow,
)

ROOT = Path(__file__).parents[3]
KEY = st.text(max_size=30)
SHARE = st.one_of(st.floats(0, 100), st.sampled_from([0.0, 0.0001, 1.0, 50.0, 99.9999, 100.0]))
STAGE = st.sampled_from(Stage)
NAME = st.sampled_from(["a", "b", "c", "d"])
EVALUATION = st.builds(
    Evaluation,
    # Lone surrogates are no text to an evaluation: the characters of UTF-8 have none.
    id=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
    language=st.sampled_from(["python", "perl"]),
    code=st.just(""),
    tags=st.lists(NAME, max_size=2).map(tuple),
    priority=st.integers(0, 9),
    tenant=st.none() | NAME,
)
RULE = st.builds(
    RouteRule,
    share=SHARE,
    languages=st.sampled_from([(), ("perl",), ("python", "perl")]),
    tags=st.lists(NAME, max_size=2).map(tuple),
    priorities=st.lists(st.integers(0, 9), max_size=2).map(tuple),
    tenants=st.lists(NAME, max_size=2).map(tuple),
)
ROLLOUT = st.builds(
    Rollout,
    stage=STAGE,
    share=SHARE,
    sample=SHARE,
    salt=st.text(max_size=5),
    rules=st.lists(RULE, max_size=3).map(tuple),
)


def evaluation(name: str = "e", **others: object) -> Evaluation:
    return Evaluation(id=name, language="python", code="", **others)


@given(KEY, KEY, SHARE, SHARE)
def test_whoever_is_in_a_share_is_in_every_larger_one(salt: str, key: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert is_within(larger, salt, key) or not is_within(smaller, salt, key)


@given(KEY, KEY)
def test_nobody_is_in_nothing_and_everybody_in_all(salt: str, key: str) -> None:
    assert not is_within(0, salt, key)
    assert is_within(100, salt, key)
    assert 0 <= bucket(salt, key) < BUCKETS


@given(ROLLOUT, EVALUATION, SHARE)
def test_a_growing_share_takes_no_answer_away_from_celery(
    rollout: Rollout, submitted: Evaluation, share: float
) -> None:
    smaller, larger = sorted((rollout.share, share))
    of = {
        each: route(rollout.model_copy(update={"share": each}), submitted, "ev").authority
        for each in (smaller, larger)
    }
    assert (of[smaller], of[larger]) != ("celery", "legacy")


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_buckets_are_the_same_in_every_process(seed: str) -> None:
    keys = [f"tenant-{number}" for number in range(50)] + ["Zoë", "", "\ud800"]
    code = (
        "import json; from crucible.rollout.stage import bucket;"
        f"print(json.dumps([bucket('salt', key) for key in json.loads({json.dumps(json.dumps(keys))})]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [bucket("salt", key) for key in keys]


def test_buckets_are_those_of_former_versions() -> None:
    """Whoever moved with a new version would change sides without anybody having decided so."""
    former = {"tenant-1": 448191, "tenant-2": 135951, "": 795281, "Zoë": 353388}
    assert {key: bucket("crucible", key) for key in former} == former


def test_buckets_are_even() -> None:
    keys, parts = 50_000, 20
    counts = [0] * parts
    for number in range(keys):
        counts[bucket("crucible", f"tenant-{number}") * parts // BUCKETS] += 1
    expected = keys / parts
    # Chi squared with 19 degrees of freedom: above 52 once in ten thousand.
    assert sum((count - expected) ** 2 / expected for count in counts) < 52


def test_another_salt_deals_anew() -> None:
    keys = [f"tenant-{number}" for number in range(4000)]
    both = sum(is_within(50, "one", key) and is_within(50, "other", key) for key in keys)
    assert 0.2 < both / len(keys) < 0.3


@given(ROLLOUT, EVALUATION)
def test_before_canary_no_rule_gives_celery_an_answer(rollout: Rollout, submitted: Evaluation) -> None:
    for stage in (Stage.LEGACY, Stage.SHADOW):
        found = route(rollout.model_copy(update={"stage": stage}), submitted, "ev")
        assert found.authority == "legacy"
        assert found.legs == (("legacy",) if stage is Stage.LEGACY else ("legacy", "celery"))


@given(ROLLOUT, EVALUATION, KEY)
def test_whoever_answers_runs_it_and_the_stamp_is_the_rollouts(
    rollout: Rollout, submitted: Evaluation, evaluation_id: str
) -> None:
    found = route(rollout, submitted, evaluation_id)
    assert found.authority in found.legs
    assert (found.stage, found.version, found.epoch) == (rollout.stage, rollout.version, rollout.epoch)
    assert found == route(rollout, submitted, evaluation_id)


@given(ROLLOUT, EVALUATION)
def test_up_to_canary_legacy_runs_everything(rollout: Rollout, submitted: Evaluation) -> None:
    found = route(rollout, submitted, "ev")
    assert "legacy" in found.legs or rollout.stage.rank > Stage.CANARY.rank


@given(ROLLOUT, EVALUATION, KEY)
def test_one_tenant_is_on_one_side_whatever_is_submitted(
    rollout: Rollout, submitted: Evaluation, name: str
) -> None:
    of_tenant = submitted.model_copy(update={"tenant": "a"})
    other = of_tenant.model_copy(update={"id": f"other {name}"})
    assert route(rollout, of_tenant, "ev-1").authority == route(rollout, other, "ev-2").authority


def test_at_live_legacy_shadows_a_sample_whoever_submits() -> None:
    live = Rollout(stage=Stage.LIVE, share=100, sample=10)
    routes = [route(live, evaluation(tenant="one"), f"ev-{number}") for number in range(4000)]
    assert {each.authority for each in routes} == {"celery"}
    shadowed = sum("legacy" in each.legs for each in routes) / len(routes)
    assert 0.08 < shadowed < 0.12


def test_at_celery_legacy_runs_only_what_a_rule_keeps() -> None:
    rollout = Rollout(stage=Stage.CELERY, share=100, rules=(RouteRule(share=0, languages=("perl",)),))
    assert route(rollout, evaluation(), "ev").legs == ("celery",)
    perl = evaluation().model_copy(update={"language": "perl"})
    assert (route(rollout, perl, "ev").legs, route(rollout, perl, "ev").authority) == (("legacy",), "legacy")


def test_the_first_rule_that_fits_decides() -> None:
    first = RouteRule(share=100, tags=("early",), priorities=(1, 2))
    rollout = Rollout(stage=Stage.CANARY, share=0, rules=(first, RouteRule(share=0)))
    assert route(rollout, evaluation(tags=("early", "x"), priority=2), "ev").authority == "celery"
    assert route(rollout, evaluation(tags=("early",), priority=3), "ev").authority == "legacy"
    assert route(rollout, evaluation(tags=("late",), priority=2), "ev").authority == "legacy"


@given(ROLLOUT, EVALUATION, KEY)
def test_what_is_shed_runs_on_the_leg_that_answers_and_on_no_other(
    rollout: Rollout, submitted: Evaluation, evaluation_id: str
) -> None:
    found = route(rollout, submitted, evaluation_id)
    alone = without_shadow(found)
    assert alone.legs == (found.authority,)
    assert alone.shed is (len(found.legs) > 1)
    assert alone.model_copy(update={"legs": found.legs, "shed": False}) == found
    assert without_shadow(alone) == alone


def test_routes_of_former_versions_were_not_shed() -> None:
    former = '{"stage":"shadow","version":1,"epoch":1,"legs":["legacy","celery"],"authority":"legacy"}'
    assert not Route.model_validate_json(former).shed
