"""Importing data sets: programs are put together as their authors meant, faults are named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from cli.commands.corpus import DataSet, app
from crucible.corpus import read
from crucible.errors import CorpusError, InputError
from crucible.importers import IMPORTERS, Skipped, import_records
from crucible.models import Evaluation, Expectation, Limits, Outcome

DOUBLE = {
    "task_id": "HumanEval/7",
    "prompt": "def double(n):\n",
    "entry_point": "double",
    "canonical_solution": "    return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
TRIPLE = {
    "task_id": 11,
    "text": "Write a function to triple.",
    "code": "def triple(n):\n    return 3 * n",
    "test_list": ["assert triple(1) == 3", "assert triple(2) == 6"],
    "test_setup_code": "import math",
    "challenge_test_list": ["assert triple(-1) == -3"],
}
HALVE = {
    "task_id": "CPP/3",
    "prompt": "#include<vector>\nusing namespace std;\nint halve(int n){\n",
    "declaration": "int halve(int n){\n",
    "canonical_solution": "    return n / 2;\n}\n",
    "test": "int main(){\n    return halve(4) != 2;\n}\n",
    "example_test": "",
}


def a_file(folder: Path, *records: dict[str, Any] | bytes) -> Path:
    path = folder / "data.jsonl"
    path.write_bytes(b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in records))
    return path


def imported(data_set: str, path: Path) -> list[Evaluation]:
    found = list(import_records(data_set, path))
    assert all(isinstance(each, Evaluation) for each in found)
    return [each for each in found if isinstance(each, Evaluation)]


def test_humaneval_is_solution_then_test_then_check(tmp_path: Path) -> None:
    (evaluation,) = imported("humaneval", a_file(tmp_path, DOUBLE))
    assert evaluation.code == (
        "def double(n):\n    return 2 * n\n\n"
        "def check(candidate):\n    assert candidate(2) == 4\n\n"
        "check(double)\n"
    )
    assert (evaluation.id, evaluation.language) == ("humaneval/7", "python")
    assert evaluation.expect == Expectation(exit_code=0, stdout="", outcome=(Outcome.OK,), deterministic=True)
    compile(evaluation.code, "imported", "exec")


def test_mbpp_is_setup_then_solution_then_all_assertions(tmp_path: Path) -> None:
    (evaluation,) = imported("mbpp", a_file(tmp_path, TRIPLE))
    assert evaluation.code.splitlines() == [
        "import math",
        "def triple(n):",
        "    return 3 * n",
        "assert triple(1) == 3",
        "assert triple(2) == 6",
        "assert triple(-1) == -3",
    ]
    assert evaluation.id == "mbpp/11"
    assert evaluation.expect.stdout is None
    compile(evaluation.code, "imported", "exec")


def test_mbpp_without_setup_and_challenges_is_complete(tmp_path: Path) -> None:
    bare = {key: TRIPLE[key] for key in ("task_id", "code", "test_list")}
    (evaluation,) = imported("mbpp", a_file(tmp_path, bare))
    assert evaluation.code.startswith("def triple(n):")


def test_humaneval_x_in_cpp_gets_the_headers_it_takes_for_granted(tmp_path: Path) -> None:
    (evaluation,) = imported("humaneval-x", a_file(tmp_path, HALVE))
    assert (evaluation.id, evaluation.language) == ("humanevalx-cpp/3", "cpp")
    assert evaluation.code.startswith("#include <algorithm>\n")
    assert evaluation.code.endswith("    return n / 2;\n}\n\nint main(){\n    return halve(4) != 2;\n}\n")


@pytest.mark.parametrize(
    ("name", "id_", "language", "limits"),
    [
        ("Python/1", "humanevalx-python/1", "python", Limits()),
        ("JavaScript/1", "humanevalx-js/1", "javascript", Limits(memory_mb=512, processes=128)),
        ("Java/1", "humanevalx-java/1", "java", Limits(memory_mb=512, processes=256, wall_s=30, cpu_s=20)),
    ],
)
def test_humaneval_x_gives_each_runtime_the_room_it_needs(
    tmp_path: Path, name: str, id_: str, language: str, limits: Limits
) -> None:
    (evaluation,) = imported("humaneval-x", a_file(tmp_path, HALVE | {"task_id": name}))
    assert (evaluation.id, evaluation.language, evaluation.limits) == (id_, language, limits)
    assert evaluation.code == "\n".join((HALVE["prompt"] + HALVE["canonical_solution"], HALVE["test"]))


def test_humaneval_x_expects_nothing_of_a_solution_that_needs_a_foreign_library(tmp_path: Path) -> None:
    boost = HALVE | {"prompt": "#include <boost/any.hpp>\n"}
    (evaluation,) = imported("humaneval-x", a_file(tmp_path, boost))
    assert "needs_dependency:boost" in evaluation.tags
    assert evaluation.expect.outcome is None


def test_languages_that_nobody_runs_are_skipped_and_named(tmp_path: Path) -> None:
    path = a_file(tmp_path, HALVE | {"task_id": "Go/0"}, HALVE | {"task_id": "Rust/0"})
    assert list(import_records("humaneval-x", path)) == [Skipped("go"), Skipped("rust")]


@pytest.mark.parametrize("compress", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_gzip_is_recognised_by_content(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(compress(json.dumps(DOUBLE).encode()))
    assert len(imported("humaneval", path)) == 1


def test_damaged_gzip_is_the_callers_fault(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(DOUBLE).encode() * 1000)
    for damage in (whole[:-20], whole[:30] + b"\0\0\0\0" + whole[34:]):
        with pytest.raises(InputError, match=r"data\.jsonl"):
            list(import_records("humaneval", a_file(tmp_path, damage)))


@pytest.mark.parametrize(
    ("data_set", "record", "key", "problem"),
    [
        ("humaneval", TRIPLE, "task_id", "must be text, not 11"),
        ("humaneval", HALVE, "task_id", "is 'CPP/3'; HumanEval's are like 'HumanEval/0'"),
        ("humaneval", {"task_id": "HumanEval/1"}, "prompt", "missing (the line has task_id)"),
        ("mbpp", DOUBLE, "code", "missing (the line has canonical_solution, "),
        ("mbpp", TRIPLE | {"test_list": "assert"}, "test_list", "must be a list of texts, not 'assert'"),
        ("mbpp", TRIPLE | {"task_id": True}, "task_id", "must be a whole number, not true"),
        ("humaneval-x", DOUBLE, "task_id", "is 'HumanEval/7'; HumanEval-X's are like 'CPP/0'"),
        ("humaneval", b"[1]", "", "must be an object, not [1]"),
        ("humaneval", b"{", "", "not JSON: "),
    ],
)
def test_a_record_of_something_else_is_told(
    tmp_path: Path, data_set: str, record: dict[str, Any] | bytes, key: str, problem: str
) -> None:
    path = a_file(tmp_path, b"", record)
    with pytest.raises(CorpusError) as caught:
        list(import_records(data_set, path))
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(path), 2, key)
    assert caught.value.problem.startswith(problem)


def test_the_command_offers_every_importer() -> None:
    assert set(get_args(DataSet)) == set(IMPORTERS)


def test_the_command_prints_a_corpus(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "humaneval", str(a_file(tmp_path, DOUBLE))])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["id"] == "humaneval/7"
    assert result.stderr == "1 imported\n"


def test_the_command_counts_for_machines(tmp_path: Path) -> None:
    source, target = a_file(tmp_path, HALVE, HALVE | {"task_id": "Go/0"}), tmp_path / "corpus.jsonl"
    result = CliRunner().invoke(
        app, ["import", "humaneval-x", str(source), "--output", str(target), "--json"]
    )
    assert json.loads(result.stdout) == {"imported": 1, "skipped": {"go": 1}, "output": str(target)}
    assert [line.evaluation.id for line in read(target)] == ["humanevalx-cpp/3"]


def test_a_fault_leaves_no_half_a_corpus(tmp_path: Path) -> None:
    source, target = a_file(tmp_path, DOUBLE, b"{"), tmp_path / "corpus.jsonl"
    target.write_text("what was there\n")
    result = CliRunner().invoke(app, ["import", "humaneval", str(source), "--output", str(target)])
    assert isinstance(result.exception, CorpusError)
    assert target.read_text() == "what was there\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "data.jsonl"]


@pytest.mark.parametrize("target", ["", "missing/corpus.jsonl"])
def test_a_place_that_cannot_be_written_is_the_callers_fault(tmp_path: Path, target: str) -> None:
    source = a_file(tmp_path, DOUBLE)
    result = CliRunner().invoke(app, ["import", "humaneval", str(source), "--output", str(tmp_path / target)])
    assert isinstance(result.exception, InputError)
    assert str(tmp_path / target) in str(result.exception)


def test_counts_for_machines_need_a_file_for_the_corpus(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "humaneval", str(a_file(tmp_path, DOUBLE)), "--json"])
    assert isinstance(result.exception, InputError)
    assert "--output" in str(result.exception)
