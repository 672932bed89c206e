"""Every stratum must show parity by itself, unless a rule keeps all of it on legacy."""

import pytest

from crucible.rollout.assessment import Assessment, GateState
from crucible.rollout.gates import assess, kept_on_legacy
from crucible.rollout.stage import RouteRule
from crucible.settings import GateSettings
from tests.support.epochs import CANARY, SETTINGS, columns, inputs

KEEP_PERL = RouteRule(share=0, languages=("perl", "awk"))


def judged(counted: object, *rules: RouteRule, settings: GateSettings = SETTINGS) -> Assessment:
    return assess(counted, CANARY.model_copy(update={"rules": rules}), settings, budgets={}, since_seq=0)


def test_one_language_that_disagrees_refuses_all() -> None:
    found = judged(inputs({"python": columns(9000), "perl": columns(400, mismatched=40)}))
    assert found.strata["all"].pairs_to_go == 0
    assert [gate.name for gate in found.refusing] == ["parity"]
    assert found.gate("parity").state is GateState.BLOCKED


def test_strata_with_too_few_pairs_are_listed_the_farthest_first() -> None:
    found = judged(inputs({"python": columns(900), "c": columns(300), "go": columns(100)}))
    gate = found.gate("parity")
    assert gate.state is GateState.WAITING
    assert gate.reason == "Still to come in 2 strata: language:go 225 pairs, language:c 25 pairs."
    assert gate.numbers["pairs_to_go"] == 225
    assert (found.strata["language:c"].pairs_to_go, found.strata["language:python"].pairs_to_go) == (25, 0)


def test_never_names_the_commonest_cause() -> None:
    counted = {"c": columns(100, mismatched=5)}
    gate = judged(inputs(counted, causes={"f3a9": 4, "77ab": 1})).gate("parity")
    assert "never at the current rate; mend cause f3a9 first" in gate.reason
    assert gate.numbers["pairs_to_go"] is None
    without = judged(inputs({"c": columns(100, unpaired=5)})).gate("parity")
    assert "mend what leaves evaluations unpaired first" in without.reason


def test_a_language_kept_on_legacy_needs_no_evidence_and_is_listed() -> None:
    counted = inputs({"python": columns(900), "perl": columns(10, mismatched=90)})
    assert not judged(counted).go
    found = judged(counted, KEEP_PERL)
    assert found.go
    assert found.strata["language:perl"].kept
    assert found.gate("parity").numbers["kept"] == 2


def test_where_everything_is_kept_nothing_can_move() -> None:
    found = judged(inputs({"perl": columns(900)}), KEEP_PERL)
    assert (found.go, found.gate("parity").state) == (False, GateState.BLOCKED)


def test_a_tag_that_must_be_judged_is_missed_when_nothing_has_it() -> None:
    asked = SETTINGS.model_copy(update={"strata_tags": ("nightly",)})
    found = judged(inputs(), settings=asked)
    assert not found.go
    assert "tag:nightly 325 pairs" in found.gate("parity").reason
    assert judged(inputs(), RouteRule(share=0, tags=("nightly",)), settings=asked).go


@pytest.mark.parametrize(
    ("stratum", "rules", "kept"),
    [
        ("language:perl", [KEEP_PERL], True),
        ("language:awk", [KEEP_PERL], True),
        ("language:c", [KEEP_PERL], False),
        ("all", [KEEP_PERL], False),
        ("tag:perl", [KEEP_PERL], False),
        ("language:perl", [RouteRule(share=1, languages=("perl",))], False),
        ("language:perl", [RouteRule(share=0, languages=("perl",), priorities=(9,))], False),
        ("language:perl", [RouteRule(share=0, languages=("perl",), tags=("nightly",))], False),
        ("language:perl", [RouteRule(share=50, tags=("nightly",)), KEEP_PERL], False),
        ("language:perl", [RouteRule(share=50, languages=("c",)), KEEP_PERL], True),
        ("language:perl", [RouteRule(share=0, tags=("nightly",)), KEEP_PERL], True),
        ("language:perl", [KEEP_PERL, RouteRule(share=50)], True),
        ("tag:nightly", [RouteRule(share=0, tags=("nightly", "slow"))], True),
        ("tag:nightly", [RouteRule(share=0, tags=("nightly",), tenants=("a",))], False),
        (
            "tag:nightly",
            [RouteRule(share=50, languages=("c",)), RouteRule(share=0, tags=("nightly",))],
            False,
        ),
    ],
)
def test_what_rules_keep(stratum: str, rules: list[RouteRule], *, kept: bool) -> None:
    assert kept_on_legacy(stratum, tuple(rules)) is kept
