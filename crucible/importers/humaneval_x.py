"""HumanEval-X: HumanEval in several languages, one file for each."""

from dataclasses import dataclass, field

from crucible.importers.records import Record, Skipped
from crucible.models import Evaluation, Expectation, Limits, Outcome

SOURCE = "HumanEval-X (THUDM/CodeGeeX), Apache-2.0"


@dataclass(frozen=True)
class _Dialect:
    """How programs of one language are put together; the runtimes of some need room of their own."""

    language: str
    id_prefix: str
    preamble: str = ""
    limits: Limits = field(default_factory=Limits)


_HEADERS = (
    "algorithm",
    "climits",
    "cstring",
    "iostream",
    "math.h",
    "stdio.h",
    "stdlib.h",
    "string",
    "vector",
)
"""What C++ solutions and tests use without including it."""

_DIALECTS = {
    "Python": _Dialect("python", "humanevalx-python"),
    "JavaScript": _Dialect("javascript", "humanevalx-js", limits=Limits(memory_mb=512, processes=128)),
    "CPP": _Dialect(
        "cpp",
        "humanevalx-cpp",
        preamble="".join(f"#include <{header}>\n" for header in _HEADERS),
    ),
    "Java": _Dialect(
        "java", "humanevalx-java", limits=Limits(memory_mb=512, processes=256, wall_s=30, cpu_s=20)
    ),
}
_SKIPPED = {"Go": "go", "Rust": "rust"}
"""Nobody here runs these languages."""

_DEPENDENCIES = {"boost": "#include<boost/", "openssl": "#include<openssl/", "js-md5": "require('js-md5')"}
"""Libraries that some solutions need, by the text that gives them away (without its blanks)."""


def convert(record: Record) -> Evaluation | Skipped:
    """The canonical solution under its test; silent when it passes.

    A solution that needs a foreign library is tagged so, and nothing is expected of it.
    """
    name, _, number = record.text("task_id").partition("/")
    if name in _SKIPPED:
        return Skipped(_SKIPPED[name])
    if name not in _DIALECTS or not number:
        raise record.fault(
            "task_id",
            f"is {record.text('task_id')!r}; HumanEval-X's are like 'CPP/0' ({', '.join(_DIALECTS)})",
        )
    dialect = _DIALECTS[name]
    solution = record.text("prompt") + record.text("canonical_solution")
    code = "\n".join((dialect.preamble + solution, record.text("test")))
    needs = tuple(f"needs_dependency:{library}" for library in _dependencies(code))
    passes = Expectation(exit_code=0, stdout="", outcome=(Outcome.OK,), deterministic=True)
    return record.evaluation(
        id=f"{dialect.id_prefix}/{number}",
        language=dialect.language,
        code=code,
        limits=dialect.limits,
        tags=("humaneval-x", "canonical", *needs),
        expect=Expectation(deterministic=True) if needs else passes,
        source=SOURCE,
    )


def _dependencies(code: str) -> list[str]:
    dense = code.replace(" ", "").replace('"', "'")
    return [library for library, mark in _DEPENDENCIES.items() if mark in dense]
