"""Reading a corpus: what fits comes out whole, what does not is named by file, line and key."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crucible.corpus import MAX_LINE_BYTES, read, to_line, validate
from crucible.errors import CorpusError, InputError
from crucible.models import Evaluation, Expectation, Limits, Outcome
from crucible.models.evaluation import MAX_PROGRAM_BYTES

KNOWN = ("bash", "java", "python")
ROOT = Path(__file__).parents[2]
PEAKS = """
import json, sys, tracemalloc
from pathlib import Path
from crucible.corpus import validate
found = []
for path in sys.stdin.read().splitlines():
    tracemalloc.start()
    lines = validate([Path(path)], sys.argv[1:], sys.argv[1:]).lines
    found.append((lines, tracemalloc.get_traced_memory()[1]))
    tracemalloc.stop()
print(json.dumps(found))
"""
"""In a process of its own, for threads that other tests have left would be counted too."""


def a_line(**changes: object) -> dict[str, Any]:
    return {"id": "one", "language": "python", "code": "print(1)"} | changes


def a_corpus(folder: Path, *lines: dict[str, Any] | bytes, name: str = "corpus.jsonl") -> Path:
    path = folder / name
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return path


def fault_of(path: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_line_becomes_an_evaluation_with_its_place(tmp_path: Path) -> None:
    expect = {"outcome": "ok", "exit_code": 0, "stdout": "1\n", "signal": None}
    path = a_corpus(tmp_path, a_line(limits={"wall_s": 2}, tags=["a", "b"], expect=expect))
    (line,) = read(path)
    assert (line.file, line.number) == (str(path), 1)
    assert line.evaluation.limits == Limits(wall_s=2)
    assert line.evaluation.tags == ("a", "b")
    assert line.evaluation.expect == Expectation(exit_code=0, stdout="1\n", outcome=(Outcome.OK,))


def test_several_outcomes_may_be_expected(tmp_path: Path) -> None:
    path = a_corpus(tmp_path, a_line(expect={"outcome": ["cpu_limit", "wall_limit"]}))
    (line,) = read(path)
    assert line.evaluation.expect.outcome == (Outcome.CPU_LIMIT, Outcome.WALL_LIMIT)


def test_null_limits_and_expectations_say_nothing(tmp_path: Path) -> None:
    (line,) = read(a_corpus(tmp_path, a_line(limits=None, expect=None)))
    assert line.evaluation == Evaluation(**a_line())


def test_an_empty_program_is_an_evaluation(tmp_path: Path) -> None:
    (line,) = read(a_corpus(tmp_path, a_line(code="")))
    assert line.evaluation.code == ""


def test_byte_order_mark_blank_lines_and_crlf_are_tolerated(tmp_path: Path) -> None:
    one, two = (json.dumps(a_line(id=name)).encode() for name in ("one", "two"))
    path = a_corpus(tmp_path, b"\xef\xbb\xbf" + one + b"\r", b"", b"  \t\r", two, b"")
    assert [(line.number, line.evaluation.id) for line in read(path)] == [(1, "one"), (4, "two")]


def test_an_empty_file_has_no_evaluations(tmp_path: Path) -> None:
    assert list(read(a_corpus(tmp_path, b""))) == []


@pytest.mark.parametrize(
    ("changes", "key", "problem"),
    [
        ({"langauge": "c"}, "langauge", "unknown key; known keys are id, language, code"),
        ({"limits": {"wall_x": 1}}, "limits.wall_x", "unknown key; known keys are wall_s, cpu_s"),
        ({"expect": {"stderr": ""}}, "expect.stderr", "unknown key; known keys are exit_code"),
        ({"id": 5}, "id", "must be text, not a number (5)"),
        ({"id": ""}, "id", "must not be empty"),
        ({"id": "x" * 201}, "id", "is 201 characters long; the limit is 200"),
        ({"stdin": None}, "stdin", "must be text, not null"),
        ({"tags": "slow"}, "tags", "must be a list, not text ('slow')"),
        ({"tags": [1]}, "tags", "must be text, not a number (1)"),
        ({"priority": 10}, "priority", "is 10; the range is 0 to 9"),
        ({"priority": "5"}, "priority", "must be a whole number, not text ('5')"),
        ({"limits": {"wall_s": "10"}}, "limits.wall_s", "must be a number, not text ('10')"),
        ({"limits": {"cpu_s": True}}, "limits.cpu_s", "must be a number, not a boolean (true)"),
        ({"limits": {"memory_mb": True}}, "limits.memory_mb", "must be a whole number, not a boolean (true)"),
        ({"limits": {"wall_s": 0}}, "limits.wall_s", "is 0; the range is 0.1 to 600"),
        ({"limits": {"memory_mb": 9000}}, "limits.memory_mb", "is 9000; the range is 16 to 8192"),
        ({"limits": {"wall_s": float("nan")}}, "limits.wall_s", "is nan; the range is 0.1 to 600"),
        ({"limits": [1]}, "limits", "must be an object, not a list ([1])"),
        ({"expect": {"outcome": "fine"}}, "expect.outcome", "no outcome is called 'fine'; outcomes are ok"),
        ({"expect": {"outcome": []}}, "expect.outcome", "must not be empty"),
        ({"expect": {"deterministic": 1}}, "expect.deterministic", "must be true or false, not a number (1)"),
        ({"code": "'\ud800'"}, "code", "holds a lone surrogate (\\ud800)"),
        ({"expect": {"stdout": "\udfff"}}, "expect.stdout", "holds a lone surrogate (\\udfff)"),
        ({"code": "x" * (MAX_PROGRAM_BYTES + 1)}, "code", "is 10485761 bytes; the limit is 10485760"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_a_wrong_value_is_told_with_its_key(
    tmp_path: Path, changes: dict[str, Any], key: str, problem: str
) -> None:
    path = a_corpus(tmp_path, a_line(id="good"), a_line(**changes))
    fault = fault_of(path)
    assert (fault.file, fault.line, fault.key) == (str(path), 2, key)
    assert fault.problem.startswith(problem)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    fault = fault_of(a_corpus(tmp_path, {"id": "one", "language": "python"}))
    assert (fault.key, fault.problem) == ("code", "missing; every evaluation has id, language and code")


def test_a_misspelt_key_is_told_rather_than_the_one_it_leaves_missing(tmp_path: Path) -> None:
    fault = fault_of(a_corpus(tmp_path, {"id": "one", "langauge": "python", "code": ""}))
    assert fault.key == "langauge"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"id": "one"', "not JSON: EOF while parsing an object at column 12"),
        (b"print(1)", "not JSON: expected value at column 1"),
        (b'{"a": ' + b"[" * 100_000, "not JSON: recursion limit exceeded"),
        (b'["one"]', "must be an object, not a list (['one'])"),
        (b'{"id": "\xff"}', "not UTF-8: byte 0xff at position 9"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8: byte 0xff at position 1"),
    ],
    ids=["cut off", "a program", "too deep", "a list", "latin-1", "utf-16"],
)
def test_a_line_that_is_no_json_object_is_told(tmp_path: Path, raw: bytes, problem: str) -> None:
    fault = fault_of(a_corpus(tmp_path, raw))
    assert (fault.line, fault.key) == (1, "")
    assert fault.problem.startswith(problem)


def test_long_values_and_keys_are_shortened(tmp_path: Path) -> None:
    value = fault_of(a_corpus(tmp_path, a_line(code=["x" * 10_000] * 100)))
    key = fault_of(a_corpus(tmp_path, a_line(**{"k" * 10_000: 1})))
    assert len(str(value)) - len(str(tmp_path)) < 200
    assert len(str(key)) - len(str(tmp_path)) < 300


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.jsonl"
    with path.open("wb") as stream:
        stream.truncate(MAX_LINE_BYTES + 2)
    assert fault_of(path).problem == f"the line is longer than {MAX_LINE_BYTES} bytes"


def test_files_that_cannot_be_read_are_the_callers_fault(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "none.jsonl", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=f"{re.escape(str(path))}: {problem}"):
            list(read(path))


def test_what_is_written_reads_back_and_leaves_defaults_out(tmp_path: Path) -> None:
    plain = Evaluation(id="plain", language="python", code="print('é')")
    rich = Evaluation(
        id="rich",
        language="bash",
        code="",
        limits=Limits(cpu_s=1),
        expect=Expectation(outcome=(Outcome.OK, Outcome.CPU_LIMIT), exit_code=0),
        tags=("a",),
    )
    single = Evaluation(id="single", language="c", code="", expect=Expectation(outcome=(Outcome.OK,)))
    written = [to_line(each) for each in (plain, rich, single)]
    assert written[0] == '{"id": "plain", "language": "python", "code": "print(\'é\')"}'
    assert json.loads(written[2])["expect"] == {"outcome": "ok"}
    path = a_corpus(tmp_path, *(line.encode() for line in written))
    assert [line.evaluation for line in read(path)] == [plain, rich, single]


def test_validation_counts_lines_and_languages_over_all_files(tmp_path: Path) -> None:
    first = a_corpus(tmp_path, a_line(id="1"), a_line(id="2", language="bash"), name="first.jsonl")
    second = a_corpus(tmp_path, a_line(id="3"), name="second.jsonl")
    summary = validate([first, second], ["python", "bash"], KNOWN)
    assert (summary.lines, summary.per_language) == (3, {"bash": 1, "python": 2})
    assert summary.unavailable == {}


def test_a_repeated_id_is_told_with_its_first_place(tmp_path: Path) -> None:
    first = a_corpus(tmp_path, a_line(id="0"), a_line(id="same"), name="first.jsonl")
    second = a_corpus(tmp_path, a_line(id="same"), name="second.jsonl")
    with pytest.raises(CorpusError) as caught:
        validate([first, second], KNOWN, KNOWN)
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(second), 1, "id")
    assert f"'same' was used before, in {first}, line 2" in caught.value.problem


def test_ids_that_differ_in_case_are_different(tmp_path: Path) -> None:
    path = a_corpus(tmp_path, a_line(id="a"), a_line(id="A"))
    assert validate([path], KNOWN, KNOWN).lines == 2


def test_a_language_nobody_runs_is_told(tmp_path: Path) -> None:
    path = a_corpus(tmp_path, a_line(language="cobol"))
    with pytest.raises(CorpusError, match="no executor runs 'cobol'; known languages are bash, java, python"):
        validate([path], KNOWN, KNOWN, skip_unavailable=True)


def test_a_language_without_toolchain_is_told_or_counted(tmp_path: Path) -> None:
    path = a_corpus(tmp_path, a_line(id="1"), a_line(id="2", language="java"))
    with pytest.raises(CorpusError, match=r"no toolchain for 'java' here .*--skip-unavailable") as caught:
        validate([path], ["python"], KNOWN)
    assert (caught.value.line, caught.value.key) == (2, "language")
    assert validate([path], ["python"], KNOWN, skip_unavailable=True).unavailable == {"java": 1}


def test_validation_takes_no_more_memory_for_a_larger_corpus(tmp_path: Path) -> None:
    # Ids are long because the JSON parser keeps some thousand short strings for reuse.
    numbers = (100, 2_000, 50_000)
    for number in numbers:
        with (tmp_path / str(number)).open("w") as stream:
            stream.writelines(json.dumps(a_line(id=f"{n:0100}")) + "\n" for n in range(number))
    command = [sys.executable, "-c", PEAKS, *KNOWN]
    lines = "\n".join(str(tmp_path / str(number)) for number in numbers)
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [counted for counted, _ in found] == list(numbers)
    _, (_, small), (_, large) = found
    assert large < 1.5 * small
