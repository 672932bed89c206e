"""The gates before each step forward. Each says GO on evidence alone; having none is no GO.

A GO takes all of them, each at alpha by itself: it is wrong only where the one that should have refused is.
That lost and failed evaluations count against Celery needs no gate: they are mismatches in ``parity``.
"""

from collections.abc import Collection, Iterator, Mapping

from crucible.evidence import Evidence, Question, Tally, evidence, excess_e_value, gate
from crucible.report.words import many, seconds
from crucible.rollout.assessment import (
    ALL,
    Assessment,
    Columns,
    EpochInputs,
    GateResult,
    GateState,
    LegTimes,
    StratumEvidence,
    result,
)
from crucible.rollout.stage import Rollout, RouteRule
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


STATE = "state"
"""The gate that no step goes without, not even the one that needs no evidence."""


def assess(
    inputs: EpochInputs,
    rollout: Rollout,
    settings: GateSettings,
    *,
    budgets: Mapping[str, float],
    expired: Collection[str] = (),
    since_seq: int = 0,
) -> Assessment:
    """What all gates say of ``inputs``.

    ``budgets`` has, for each rule that excuses differences, the part of pairs it may be needed for;
    ``expired`` names rules whose time is over. ``since_seq`` is the position of the evidence at the last step
    forward or the beginning of the epoch, whichever came later.
    """
    columns = columns_of(inputs, settings)
    strata = evidence_of(columns, rollout.rules, settings)
    gates = (
        _state(rollout),
        _coverage(inputs, columns, settings),
        parity(inputs, strata, settings),
        _latency("execution", inputs.execution, settings),
        _latency("waiting", inputs.waiting_time, settings),
        noise(inputs, settings),
        mutants(inputs, settings),
        rules(inputs, budgets, expired, settings),
        _step(inputs.seq - since_seq, settings),
    )
    return Assessment(gates=gates, strata=strata, go=all(gate.state is GateState.GO for gate in gates))


def _state(rollout: Rollout) -> GateResult:
    if rollout.is_spent:
        way_out = "change a build, a rule or a limit, or open a new one with set --new-epoch"
        answer = GateState.BLOCKED, f"Epoch {rollout.epoch} ended in a rollback: {way_out}."
    elif rollout.held:
        answer = GateState.BLOCKED, "An operator holds it: let it go on with set --no-hold."
    else:
        answer = GateState.GO, "Nothing holds the migration."
    return result(STATE, answer)


def _coverage(inputs: EpochInputs, columns: Mapping[str, Columns], settings: GateSettings) -> GateResult:
    everything = columns[ALL]
    unbalanced = list(_unbalanced(columns))
    overdue = f"{many(inputs.overdue, 'evaluation')} waited for more than {seconds(settings.patience_s)}"
    if unbalanced:
        where = ", ".join(unbalanced)
        answer = GateState.BLOCKED, f"The columns do not add up in {where}: a defect in Crucible."
    elif inputs.overdue:
        answer = GateState.BLOCKED, f"{overdue}: see whether both legs run."
    elif inputs.unconfirmed:
        answer = GateState.WAITING, f"{many(inputs.unconfirmed, 'mismatch', 'es')} must be run again first."
    elif everything.submitted == 0:
        answer = GateState.WAITING, "Nothing was submitted in this epoch yet."
    else:
        answer = GateState.GO, f"All of {many(everything.submitted, 'evaluation')} are accounted for."
    return result(
        "coverage",
        answer,
        submitted=everything.submitted,
        waiting=everything.waiting,
        overdue=inputs.overdue,
        unconfirmed=inputs.unconfirmed,
        not_sampled_share=everything.not_sampled / everything.submitted if everything.submitted else 0.0,
    )


def _unbalanced(columns: Mapping[str, Columns]) -> Iterator[str]:
    for name, each in columns.items():
        if each.submitted != sum(each.model_dump(exclude={"submitted"}).values()):
            yield name
    # Every evaluation has one language; one that is in no language's stratum would escape judgement.
    languages = [each.submitted for name, each in columns.items() if name.startswith("language:")]
    if sum(languages) != columns[ALL].submitted:
        yield "languages against all"


def _latency(name: str, times: LegTimes, settings: GateSettings) -> GateResult:
    """Below ``floor_s`` nobody minds; above it Celery may be slower by ``delta`` of legacy's time.

    Not yet shown to be fast enough is waiting, not slow: bounds grow closer with more pairs.
    """
    low, high = times.legacy_low, times.celery_high
    limit = None if low is None else (1 + settings.delta) * low + settings.floor_s
    if limit is None or high is None:
        answer = GateState.WAITING, f"{many(times.pairs, 'pair')}: too few to bound the 95th percentile."
    elif high > limit:
        known = f"Celery's p95 is only known to be below {seconds(high)}"
        answer = GateState.WAITING, f"{known}; {seconds(limit)} are allowed."
    else:
        answer = GateState.GO, f"Celery's p95 is below {seconds(high)}; {seconds(limit)} are allowed."
    return result(f"latency_{name}", answer, pairs=times.pairs, legacy_low=low, celery_high=high, limit=limit)


def _step(new_pairs: int, settings: GateSettings) -> GateResult:
    wanted = settings.min_pairs_per_step
    state = GateState.GO if new_pairs >= wanted else GateState.WAITING
    found = f"{many(new_pairs, 'new pair')} since the last step; each step takes {wanted:,}."
    return result("step", (state, found), new_pairs=new_pairs, pairs_to_go=max(0, wanted - new_pairs))


def noise(inputs: EpochInputs, settings: GateSettings) -> GateResult:
    """Whether what was excused as noise is more than legacy's own."""
    found = inputs.noise
    e_value = excess_e_value(found.only_celery, found.only_legacy)
    differ = (
        f"of {many(found.reruns, 're-run')} {found.only_celery:,} differ in Celery alone,"
        f" {found.only_legacy:,} in legacy alone"
    )
    if e_value >= 1 / settings.alpha:
        answer = GateState.BLOCKED, f"Celery differs more often than legacy from itself: {differ}."
    elif found.reruns < settings.min_noise_reruns:
        twice = f"Legacy ran {found.reruns:,} of {settings.min_noise_reruns:,} evaluations twice so far."
        answer = GateState.WAITING, twice
    else:
        answer = GateState.GO, f"No more noise than legacy's own: {differ}."
    return result("noise", answer, e_value=e_value, **found.model_dump())


def mutants(inputs: EpochInputs, settings: GateSettings) -> GateResult:
    """Whether the comparison still sees every fault that is planted, and whether any are."""
    planted = sum(kind.planted for kind in inputs.mutants.values())
    caught = sum(kind.caught for kind in inputs.mutants.values())
    missed = [name for name, kind in inputs.mutants.items() if kind.caught < kind.planted]
    if missed:
        escaped = f"{many(planted - caught, 'planted fault')} escaped the comparison ({', '.join(missed)})"
        answer = GateState.BLOCKED, f"{escaped}: see which rule excuses them."
    elif inputs.pairs_since_mutant > settings.max_pairs_since_mutant:
        since = many(inputs.pairs_since_mutant, "pair")
        answer = GateState.BLOCKED, f"Mutants have stopped arriving: none in {since}."
    elif planted < settings.min_mutants:
        answer = GateState.WAITING, f"{planted:,} of {settings.min_mutants:,} faults were planted so far."
    else:
        answer = GateState.GO, f"All of {many(planted, 'planted fault')} were caught."
    return result(
        "mutants", answer, planted=planted, caught=caught, pairs_since_mutant=inputs.pairs_since_mutant
    )


def rules(
    inputs: EpochInputs, budgets: Mapping[str, float], expired: Collection[str], settings: GateSettings
) -> GateResult:
    """Whether each rule is needed less often than its budget says: a mismatch rate of its own."""
    used = {name: number for name, number in inputs.rule_uses.items() if number}
    unknown = sorted(used.keys() - budgets.keys())
    over = sorted(used.keys() & set(expired))
    to_go = _pairs_to_go(inputs, used, budgets, settings)
    never = sorted(name for name, more in to_go.items() if more is None)
    most = max((more or 0 for more in to_go.values()), default=0)
    if over:
        answer = (
            GateState.BLOCKED,
            f"Expired and still needed: {', '.join(over)}; mend the cause or renew it.",
        )
    elif unknown:
        answer = GateState.BLOCKED, f"No budget is known for {', '.join(unknown)}: bring the rule back."
    elif never:
        answer = GateState.BLOCKED, f"Needed more often than the budget allows: {', '.join(never)}."
    elif most:
        answer = GateState.WAITING, f"Budgets of rules are not known to hold yet: {many(most, 'pair')} to go."
    else:
        answer = GateState.GO, f"{many(len(used), 'rule')} in use, each within its budget."
    return result("rules", answer, used=len(used), pairs_to_go=None if over or unknown or never else most)


def _pairs_to_go(
    inputs: EpochInputs, used: Mapping[str, int], budgets: Mapping[str, float], settings: GateSettings
) -> dict[str, int | None]:
    pairs = inputs.strata.get(ALL, Columns()).pairs
    return {
        # A pair that turned out nondeterministic may have used a rule and is none any more.
        name: evidence(max(pairs, number), number, Question(budgets[name], settings.alpha)).pairs_to_go
        for name, number in used.items()
        if name in budgets
    }
