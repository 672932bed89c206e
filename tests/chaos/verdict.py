"""From what was seen to a row, and whether it may stand."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.books import Books
from tests.chaos.fault import Fault
from tests.chaos.findings import Row

_SAID = 600
_COLUMNS = {
    "matched": "match",
    "mismatched": "mismatch",
    "nondeterministic": "nondeterministic",
    "unpaired": "unpaired",
    "cancelled": "cancelled",
    "not_sampled": "not_sampled",
}


@dataclass(frozen=True)
class Seen:
    """What was seen beside the books."""

    fault: Fault
    evaluations: int
    accepted: set[str]
    how: str
    said: str
    printed_besides: str
    document: Mapping[str, Any] | None
    in_hand: set[str]
    lifted_at: float
    recovered_s: float | None
    dropped: int
    programs_left: int
    run_twice: int
    is_whole: bool
    counted: Mapping[str, int]


def row_of(seen: Seen, books: Books, seconds: float) -> Row:
    """The row of one fault, by the books."""
    swept, posted = books.columns(books.sweep_id()), books.columns(None)
    submitted = swept.total() + posted.total()
    forgotten = seen.accepted - books.ids()
    missing = 0 if seen.fault.ends_sweep else max(0, seen.evaluations - swept.total())
    lost = len(books.open_ids()) + len(forgotten) + missing
    twice, mixed_up = books.settled_twice(), books.mixed_up()
    wrong = [
        *_wrong_in_ledger(seen, swept),
        *([f"{len(mixed_up)} observations of another program, as of {mixed_up[0]}"] if mixed_up else []),
        *_wrong_on_machine(seen),
    ]
    if lost:
        wrong.insert(0, f"{lost} lost: {sorted(books.open_ids() | forgotten)[:3]}")
    if twice:
        wrong.insert(0, f"{len(twice)} settled twice: {twice[:3]}")
    return Row(
        fault=seen.fault.name,
        submitted=submitted,
        lost=lost,
        duplicated=len(set(twice)) + len(mixed_up),
        recovered_s=seen.recovered_s,
        bound_s=seen.fault.bound_s,
        in_hand_s=_last_in_hand(seen, books),
        unpaired=swept["unpaired"] + posted["unpaired"],
        run_twice=seen.run_twice,
        dropped=seen.dropped,
        ended=seen.how,
        seconds=seconds,
        counts={str(name): number for name, number in (swept + posted).items()},
        faults=tuple(wrong),
        reasons=_shortened(books.reasons()),
    )


def row_without_end(fault: Fault, why: str, seconds: float) -> Row:
    """The row of a fault after which nothing could be looked at."""
    return Row(
        fault=fault.name,
        submitted=0,
        lost=0,
        duplicated=0,
        recovered_s=None,
        bound_s=fault.bound_s,
        in_hand_s=None,
        unpaired=0,
        run_twice=0,
        dropped=0,
        ended="-",
        seconds=seconds,
        faults=(why,),
    )


def _wrong_in_ledger(seen: Seen, swept: Counter[str | None]) -> Iterator[str]:
    of_books = {name: swept[column] for name, column in _COLUMNS.items()} | {"submitted": swept.total()}
    counted = {name: seen.counted[name] for name in of_books}
    if counted != of_books or not seen.counted["balanced"]:
        yield f"the ledger does not add up: the product counts {counted}, the database has {of_books}"
    if seen.document is not None:
        told = {name: seen.document["counts"][name] for name in of_books}
        if told != of_books:
            yield f"the sweep reports {told}, the database has {of_books}"
    if unexpected := seen.counted["unexpected"]:
        yield f"{unexpected} answers are not those the corpus expects"
    if swept["mismatch"]:
        yield f"{swept['mismatch']} mismatches, of which there is none in the corpus"


def _wrong_on_machine(seen: Seen) -> Iterator[str]:
    if seen.how == "still running":
        yield "the sweep has not ended"
    elif seen.document is None and not seen.fault.ends_sweep:
        yield f"the sweep ended with {seen.how}: {' '.join(seen.said.split())[-_SAID:]}"
    if seen.printed_besides:
        yield f"not JSON alone on standard output: {seen.printed_besides[:200]!r}"
    if seen.programs_left:
        yield f"{seen.programs_left} programs still run"
    if not seen.is_whole:
        yield "the stack is not whole again"
    if seen.recovered_s is None or seen.recovered_s > seen.fault.bound_s:
        yield f"both legs did not answer again within {seen.fault.bound_s:g} s"


def _last_in_hand(seen: Seen, books: Books) -> float | None:
    """Seconds from the end of the fault to the settlement of the last that a worker had in hand."""
    at = [each.at for each in books.settlements() if each.id in seen.in_hand]
    return max(0.0, max(at) - seen.lifted_at) if at else None


def _shortened(reasons: Counter[str]) -> dict[str, int]:
    return {why[:160]: number for why, number in reasons.most_common(5)}
