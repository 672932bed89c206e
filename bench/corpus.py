"""The corpora of the benchmark: our own harmless programs, the only ones that may run without a sandbox."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from crucible.corpus import to_line
from crucible.models import Evaluation
from crucible.models.observation import Outcome

_PROGRAMS = Path(__file__).parent / "programs"


def algorithms() -> list[str]:
    """Small algorithms with assertions, in the manner of HumanEval's solutions; each of them once."""
    return [path.read_text() for path in sorted(_PROGRAMS.glob("*.py"))]


def nothing() -> list[str]:
    """One program that does nothing, so that what is measured is all that is around it."""
    return [""]


def write_corpus(path: Path, programs: Sequence[str], size: int) -> None:
    """Write ``size`` evaluations, taking ``programs`` by turns; each is expected to end well."""
    path.write_text("".join(f"{to_line(each)}\n" for each in _evaluations(programs, size)))


def _evaluations(programs: Sequence[str], size: int) -> Iterator[Evaluation]:
    for number, code in enumerate(islice(cycle(programs), size)):
        yield Evaluation.model_validate(
            {"id": f"bench-{number}", "language": "python", "code": code, "expect": {"outcome": Outcome.OK}}
        )
