"""The migration on the terminal: what somebody woken at night wants to know, in the order they want it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.terminal.style import heading, plain_table
from crucible.report.visible import visible_text
from crucible.report.words import many, percent_up, seconds
from crucible.rollout.assessment import ALL, Assessment, GateResult, GateState, StratumEvidence
from crucible.rollout.epoch import AuditEntry
from crucible.rollout.gates import NAME as PARITY
from crucible.rollout.stage import Rollout, RouteRule, Stage, stage_in_words
from crucible.rollout.status import Moment, RolloutStatus, Step, StratumStatus

_SIGNS = {
    GateState.GO: ("✓ go", "green"),
    GateState.WAITING: ("… waiting", "yellow"),
    GateState.BLOCKED: ("✗ blocked", "bold red"),
}
_BAR = 8
_LARGE = 9_999


def render_gates(gates: Iterable[GateResult]) -> Table:
    """Each gate with its state and its reason."""
    table = plain_table("gate", "state", "reason", numbers_from=3)
    table.columns[1].no_wrap = True
    for gate in gates:
        sign, style = _SIGNS[gate.state]
        table.add_row(gate.name.replace("_", " "), Text(sign, style=style), visible_text(gate.reason))
    return table


def render_refusal(message: str, assessment: Assessment) -> RenderableType:
    """Why a step is refused: every gate, and how many pairs each stratum still needs."""
    waiting = {name: each for name, each in assessment.strata.items() if not _is_enough(each)}
    parts: list[RenderableType] = [Text(message, style="bold"), Text(), render_gates(assessment.gates)]
    if waiting:
        parts += [Text(), _eta(waiting, threshold_of(assessment.gates))]
    return Group(*parts)


def render_strata(
    strata: Mapping[str, StratumStatus], causes: Mapping[str, int], threshold: float
) -> RenderableType:
    """The evidence of each stratum against the threshold, and what it still takes."""
    table = plain_table("stratum", "e-value", "", "rate below", "pairs", "against", "pairs to go")
    for name, each in strata.items():
        bar, style = bar_of(each.e_value, threshold)
        table.add_row(
            Text(visible_text(name)),
            Text(_short(each.e_value)),
            Text(bar, style=style),
            percent_up(each.mismatch_rate_upper),
            f"{each.pairs:,}",
            Text(f"{each.mismatches:,}", style="bold red" if each.mismatches else ""),
            "see languages" if each.kept and name == ALL else _to_go(each),
        )
    return Group(table, *_never(strata, causes))


def threshold_of(gates: Iterable[GateResult]) -> float:
    """The e-value that makes a GO, as the gate of parity tells it."""
    found = (gate.numbers.get("threshold") for gate in gates if gate.name == PARITY)
    return next(filter(None, found), math.inf)


def bar_of(value: float, threshold: float) -> tuple[str, str]:
    """How far a statistic that begins at 1 has come to ``threshold`` on a scale of logarithms; its style."""
    part = math.log(max(value, 1.0)) / math.log(threshold)
    filled = min(_BAR, int(part * _BAR))
    return "█" * filled + "░" * (_BAR - filled), "green" if part >= 1 else "yellow"


def _eta(waiting: Mapping[str, StratumEvidence], threshold: float) -> Table:
    table = plain_table("stratum", "e-value", f"of {threshold:g}", "pairs to go")
    for name, each in waiting.items():
        bar, style = bar_of(each.e_value, threshold)
        table.add_row(Text(visible_text(name)), _short(each.e_value), Text(bar, style=style), _to_go(each))
    return table


def _never(strata: Mapping[str, StratumStatus], causes: Mapping[str, int]) -> Iterator[Text]:
    names = [name for name, each in strata.items() if each.pairs_to_go is None and not each.kept]
    if not names:
        return
    first = next(iter(causes), None)
    remedy = f"mend cause {first} first" if first else "mend what leaves evaluations unpaired first"
    where = many(len(names), "stratum") if len(names) == 1 else f"{len(names)} strata"
    yield Text(f"✗ {where}: never at this rate; {visible_text(remedy)}", style="bold red")


def _is_enough(each: StratumEvidence) -> bool:
    return each.kept or each.pairs_to_go == 0


def _to_go(each: StratumEvidence | StratumStatus) -> str:
    if each.kept:
        return "kept on legacy"
    if each.pairs_to_go is None:
        return "never so"
    return f"{each.pairs_to_go:,}" if each.pairs_to_go else "✓ enough"


def _short(value: float) -> str:
    return f"{value:,.2f}" if value <= _LARGE else f"> {_LARGE:,}"


_CAUSES_SHOWN = 3
_COLUMNS = ("matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled", "waiting")


def render_status(status: RolloutStatus) -> RenderableType:
    """Stage, last change, next step, gates, evidence, the detector, and the way back."""
    return Group(*_headline(status), *_evidence(status), *_trust(status), *_end(status))


def stage_line(stage: Stage, share: float) -> Text:
    """All stages in order, the present one in brackets."""
    line = Text()
    for each in Stage:
        line.append(" → " if line else "")
        if each is stage:
            line.append(f"[{stage_in_words(stage, share)}]", style="bold reverse")
        else:
            line.append(each.value, style="dim")
    return line


def render_plan(rollout: Rollout, steps: Sequence[Step]) -> RenderableType:
    """The steps ahead, and what each takes."""
    table = plain_table("step", "Celery answers", "takes", numbers_from=3)
    for number, step in enumerate(steps, 1):
        takes = "a GO of all gates, and new pairs" if step.needs_go else "no evidence: legacy still answers"
        table.add_row(f"{number}. {stage_in_words(step.stage, step.share)}", f"{step.share:g} %", takes)
    line = stage_line(rollout.stage, rollout.share)
    return Group(line, Text(), table if steps else Text("Nothing is ahead: Celery runs and answers alone."))


def render_change(before: Rollout, after: Rollout) -> RenderableType:
    """What a change has changed."""
    line = stage_line(after.stage, after.share)
    fields = [
        f"{name} {_worded(old)} → {_worded(new)}"
        for name in ("share", "sample", "held", "rules", "epoch")
        if (old := getattr(before, name)) != (new := getattr(after, name))
    ]
    said = [Text(", ".join([f"version {after.version}", *fields]), style="dim")]
    if after.is_spent and not before.is_spent:
        everything = "all that is new, and " if after.stage.rank < Stage.CANARY.rank else ""
        said.append(Text(f"Legacy answers {everything}what is under way. The epoch is spent."))
    return Group(line, *said)


def render_log(entries: Sequence[AuditEntry]) -> RenderableType:
    """Changes in their order: when, who, and below each what and why."""
    if not entries:
        return Text("Nothing was changed yet.")
    lines = []
    for entry in entries:
        where = stage_in_words(entry.after.stage, entry.after.share)
        who, why = visible_text(entry.actor), visible_text(entry.reason or "no reason given")
        lines.append(
            Text.assemble(
                f"{entry.seq:>4}  {entry.at:%Y-%m-%d %H:%M:%S} UTC  ",
                (f"{entry.action} → {where}", "bold"),
                f"  by {who}\n      {why}",
            )
        )
    return Group(*lines)


def render_moment(moment: Moment) -> Text:
    """One look of the pilot, in a line."""
    where = stage_in_words(moment.rollout.stage, moment.rollout.share)
    if moment.refused is not None:
        return Text(f"{where}: waiting for {', '.join(gate.name for gate in moment.refused.refusing)}")
    return Text(f"{where}: the epoch ended in a rollback" if moment.rollout.is_spent else where, style="bold")


def _headline(status: RolloutStatus) -> Iterator[RenderableType]:
    yield stage_line(status.stage, status.share)
    yield Text()
    if status.since is not None:
        who, why = visible_text(status.changed_by or ""), visible_text(status.reason or "no reason given")
        yield Text(f"changed  {status.since:%Y-%m-%d %H:%M:%S} UTC by {who}: {why}")
    spent = ", spent by a rollback" if status.spent else ""
    held = ", held" if status.held else ""
    yield Text(f"epoch    {status.epoch}{spent}, version {status.version}{held}")
    if status.stage is Stage.LIVE:
        yield Text(f"sample   {status.sample:g} % of what Celery answers is shadowed by legacy")
    for rule in status.rules:
        yield Text(f"rule     {_rule(rule)}")
    if status.next is not None:
        yield Text.assemble(
            f"next     {stage_in_words(status.next.stage, status.next.share)}: ", _answer(status)
        )


def _answer(status: RolloutStatus) -> tuple[str, str]:
    refusing = [gate.name for gate in status.gates if gate.state is not GateState.GO]
    if status.next is not None and not status.next.needs_go:
        refusing = [name for name in refusing if name == "state"]
    if not refusing:
        return "GO (crucible rollout advance)", "bold green"
    return f"not yet, for {many(len(refusing), 'gate')} of {len(status.gates)}", "bold yellow"


def _evidence(status: RolloutStatus) -> Iterator[RenderableType]:
    threshold = threshold_of(status.gates)
    yield heading("Gates")
    yield render_gates(status.gates)
    yield heading(f"Evidence (an e-value of {threshold:g} is a GO)")
    yield render_strata(status.strata, status.causes, threshold)
    everything = status.strata.get(ALL)
    if everything is not None:
        columns = (f"{getattr(everything, name):,} {name.replace('_', ' ')}" for name in _COLUMNS)
        yield Text(f"\n{everything.submitted:,} submitted = {' + '.join(columns)}")
    shown = list(status.causes.items())[:_CAUSES_SHOWN]
    if shown:
        rest = len(status.causes) - len(shown)
        causes = ", ".join(f"{visible_text(name)} {number:,}" for name, number in shown)
        yield Text(f"mismatches by cause: {causes}{f' and {rest} more' if rest else ''}")


def _trust(status: RolloutStatus) -> Iterator[RenderableType]:
    yield heading("Both legs")
    table = plain_table("95th percentile", "legacy at least", "celery at most", "pairs")
    for name, times in (("running", status.latency.execution), ("waiting", status.latency.waiting)):
        table.add_row(name, _time(times.legacy_low), _time(times.celery_high), f"{times.pairs:,}")
    yield table
    noise = status.noise
    differ = f"{noise.only_celery:,} differ in Celery alone, {noise.only_legacy:,} in legacy alone"
    yield Text(f"\nnoise    {many(noise.reruns, 're-run')} of legacy: {differ}")
    kinds = (
        f"{visible_text(name)} {kind.caught:,}/{kind.planted:,}"
        for name, kind in status.mutants.kinds.items()
    )
    yield Text(f"mutants  caught {', '.join(kinds) or 'none, for none were planted'}")
    yield Text(f"         {many(status.mutants.pairs_since, 'pair')} since the last one")


def _end(status: RolloutStatus) -> Iterator[RenderableType]:
    nearest = max(status.detector.statistics.items(), key=lambda item: item[1], default=None)
    if nearest is not None:
        name, value = nearest
        bar, _ = bar_of(value, status.detector.alarm_at)
        part = math.log(max(value, 1.0)) / math.log(status.detector.alarm_at)
        yield Text(f"detector {bar} {part:.0%} of the way to the alarm ({visible_text(name)})")
    if status.stage is not Stage.LEGACY:
        yield Text("\nBack to legacy, at once: crucible rollout rollback", style="bold")


def _time(value: float | None) -> str:
    return "–" if value is None else seconds(value)


def _worded(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(map(_rule, value)) or "none"
    return f"{value:g} %" if isinstance(value, float) else str(value)


def _rule(rule: RouteRule) -> str:
    asked: Iterable[tuple[str, tuple[object, ...]]] = (
        ("language", rule.languages),
        ("tag", rule.tags),
        ("priority", rule.priorities),
        ("tenant", rule.tenants),
    )
    about = ", ".join(
        f"{name} {visible_text('|'.join(map(str, values)))}" for name, values in asked if values
    )
    return f"{about or 'everything'}: {rule.share:g} %"
