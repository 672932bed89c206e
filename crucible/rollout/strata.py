"""Which strata have to show evidence of parity, and what they show."""

from collections.abc import Mapping

from crucible.evidence import Evidence, Question, Tally, gate
from crucible.report.words import many
from crucible.rollout.assessment import (
    ALL,
    Columns,
    EpochInputs,
    GateResult,
    GateState,
    StratumEvidence,
    result,
)
from crucible.rollout.stage import RouteRule
from crucible.settings import GateSettings

NAME = "parity"
_NAMED = 3


def kept_on_legacy(stratum: str, rules: tuple[RouteRule, ...]) -> bool:
    """Whether ``rules`` give Celery no answer of ``stratum`` whatever else its evaluations are.

    A rule keeps a language or a tag when its share is 0 and it asks for nothing else. One before it that has
    a share and could fit some of the stratum's evaluations undoes that, for the first that fits decides.
    """
    kind, _, name = stratum.partition(":")
    for rule in rules:
        if rule.share > 0:
            if kind != "language" or not rule.languages or name in rule.languages:
                return False
        elif _is_about_all_of(kind, name, rule):
            return True
    return False


def _is_about_all_of(kind: str, name: str, rule: RouteRule) -> bool:
    asked = {"language": rule.languages, "tag": rule.tags}
    named = asked.pop(kind, ())
    return name in named and not any((*asked.values(), rule.priorities, rule.tenants))


def columns_of(inputs: EpochInputs, settings: GateSettings) -> dict[str, Columns]:
    """The columns of every stratum there must be; one that nothing was submitted to is empty, not absent."""
    expected = [ALL, *(f"tag:{tag}" for tag in settings.strata_tags)]
    return {**{name: Columns() for name in expected}, **inputs.strata}


def evidence_of(
    columns: Mapping[str, Columns], rules: tuple[RouteRule, ...], settings: GateSettings
) -> dict[str, StratumEvidence]:
    """The evidence in each stratum.

    Where a stratum is kept on legacy, all of them together need no evidence either: they have the kept ones'
    mismatches among theirs, and each evaluation that Celery may answer is judged with its language.
    """
    tallies = {name: Tally(each.pairs, each.mismatches) for name, each in columns.items()}
    found = gate(tallies, _question(settings)).strata
    kept = {name for name in columns if kept_on_legacy(name, rules)}
    if kept:
        kept.add(ALL)
    return {name: _one(found[name], each, kept=name in kept) for name, each in columns.items()}


def parity(inputs: EpochInputs, strata: Mapping[str, StratumEvidence], settings: GateSettings) -> GateResult:
    """The gate over all strata that are not kept: each takes a GO of its own, and there must be one."""
    asked = {name: each for name, each in strata.items() if not each.kept}
    waiting = {name: each for name, each in asked.items() if each.pairs_to_go != 0}
    never = [name for name, each in waiting.items() if each.pairs_to_go is None]
    most = max((each.pairs_to_go or 0 for each in waiting.values()), default=0)
    if never:
        remedy = f"never at the current rate; {_remedy(inputs)}"
        answer = GateState.BLOCKED, f"{_listed(never)}: {remedy}."
    elif not asked:
        answer = GateState.BLOCKED, "Rules keep all that there is on legacy, so nothing can move."
    elif waiting:
        missing = [f"{name} {many(each.pairs_to_go or 0, 'pair')}" for name, each in _farthest(waiting)]
        answer = GateState.WAITING, f"Still to come in {_strata(waiting)}: {_listed(missing)}."
    else:
        answer = GateState.GO, f"The mismatch rate is below {settings.p0:.4g} in {_strata(asked)}."
    return result(
        NAME,
        answer,
        p0=settings.p0,
        threshold=1 / settings.alpha,
        strata=len(asked),
        kept=len(strata) - len(asked),
        strata_without_go=len(waiting),
        pairs_to_go=None if never or not asked else most,
    )


def _question(settings: GateSettings) -> Question:
    return Question(settings.p0, settings.alpha)


def _one(found: Evidence, columns: Columns, *, kept: bool) -> StratumEvidence:
    return StratumEvidence(
        e_value=found.e_value,
        mismatch_rate_upper=found.mismatch_rate_upper,
        pairs_to_go=found.pairs_to_go,
        not_sampled_share=columns.not_sampled / columns.submitted if columns.submitted else 0.0,
        kept=kept,
    )


def _farthest(waiting: Mapping[str, StratumEvidence]) -> list[tuple[str, StratumEvidence]]:
    return sorted(waiting.items(), key=lambda item: -(item[1].pairs_to_go or 0))


def _remedy(inputs: EpochInputs) -> str:
    cause = next(iter(inputs.causes), None)
    return "mend what leaves evaluations unpaired first" if cause is None else f"mend cause {cause} first"


def _strata(strata: Mapping[str, StratumEvidence]) -> str:
    return many(len(strata), "stratum") if len(strata) == 1 else f"{len(strata):,} strata"


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
