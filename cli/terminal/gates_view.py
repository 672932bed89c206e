"""Gates and what they rest on, on the terminal. A state is a sign and a word before it is a colour."""

import math
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.terminal.style import plain_table
from crucible.report.visible import visible_text
from crucible.report.words import many, percent_up
from crucible.rollout.assessment import ALL, Assessment, GateResult, GateState, StratumEvidence
from crucible.rollout.status import StratumStatus
from crucible.rollout.strata import NAME as PARITY

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
