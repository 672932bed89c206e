"""The gates before each step forward. Each says GO on evidence alone; having none is no GO.

A GO takes all of them, each at alpha by itself: it is wrong only where the one that should have refused is.
That lost and failed evaluations count against Celery needs no gate: they are mismatches in ``parity``.
"""

from collections.abc import Collection, Iterator, Mapping

from crucible.report.words import many, seconds
from crucible.rollout import trust
from crucible.rollout.assessment import Assessment, GateResult, GateState, result
from crucible.rollout.inputs import ALL, Columns, EpochInputs, LegTimes
from crucible.rollout.stage import Rollout
from crucible.rollout.strata import columns_of, evidence_of, parity
from crucible.settings import GateSettings

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
        trust.noise(inputs, settings),
        trust.mutants(inputs, settings),
        trust.rules(inputs, budgets, expired, settings),
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
