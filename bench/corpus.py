"""The corpora of the benchmark: our own harmless programs, the only ones that may run without a sandbox."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from crucible.corpus import to_line
from crucible.models import Classification, Comparison, Evaluation, Observation
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


def settled(evaluation_id: str, name: str, language: str, kind: Classification, **more: Any) -> Comparison:
    """A comparison to fill stores with, of two legs that saw the same; ``more`` are other fields of it."""
    seen = Observation(
        outcome=Outcome.OK, exit_code=0, stdout_b64="MQo=", duration_s=0.02, executor="executor-1"
    )
    return Comparison(
        evaluation_id=evaluation_id,
        name=name,
        language=language,
        classification=kind,
        legacy=seen,
        celery=seen,
        **more,
    )


def _evaluations(programs: Sequence[str], size: int) -> Iterator[Evaluation]:
    for number, code in enumerate(islice(cycle(programs), size)):
        yield Evaluation.model_validate(
            {"id": f"bench-{number}", "language": "python", "code": code, "expect": {"outcome": Outcome.OK}}
        )
