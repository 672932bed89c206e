"""Gates that ask whether the comparison itself can be trusted: noise, planted faults, rules that excuse."""

from collections.abc import Collection, Mapping

from crucible.evidence import Question, evidence, excess_e_value
from crucible.report.words import many
from crucible.rollout.assessment import GateResult, GateState, result
from crucible.rollout.inputs import ALL, Columns, EpochInputs
from crucible.settings import GateSettings


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
