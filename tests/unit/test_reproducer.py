"""The files of a reproducer: they run from anywhere, and carry what the program needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crucible.errors import InputError
from crucible.fingerprints import fingerprint
from crucible.models import Evaluation, Limits
from crucible.reproducer import Reproducer, size_of, write_reproducer
from tests.support.comparisons import differ

FAKE = """#!{python}
import json, sys
given = {{"argv": sys.argv[1:]}}
given["code"] = open(sys.argv[2], newline="").read()
print(json.dumps({{"classification": "{says}", "differences": [{{"field": "stdout"}}], **given}}))
open({record!r}, "w").write(json.dumps(given))
"""


def reproducer(reduced: Evaluation, legacy: str = "a b\n", celery: str = "b a\n") -> Reproducer:
    found = fingerprint(differ(legacy, celery))
    assert found is not None
    size = size_of(reduced)
    return Reproducer(
        evaluation_id="ev-01M8274FT4D5Q96BD2F9SCAN7X",
        fingerprint=found,
        reduced=reduced,
        before=size,
        after=size,
        programs=1,
        runs=3,
        minimal=True,
    )


def program(code: str = "print(1)\n", **more: object) -> Evaluation:
    return Evaluation.model_validate({"id": "it", "language": "python", "code": code, **more})


def run(test: Path, tmp_path: Path, says: str) -> tuple[int, str, dict[str, object]]:
    """Runs a written test with a command of that name, which answers ``says``; and what that was given."""
    record, command = tmp_path / "record.json", tmp_path / "bin" / "crucible"
    command.parent.mkdir(exist_ok=True)
    command.write_text(FAKE.format(python=sys.executable, says=says, record=str(record)))
    command.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", test.parent, test],
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, json.loads(record.read_text())


def test_the_test_passes_when_both_legs_agree_and_fails_with_the_cause_when_not(tmp_path: Path) -> None:
    test, *_ = write_reproducer(reproducer(program()), tmp_path / "out")
    assert run(test, tmp_path, "match")[0] == 0
    code, said, _ = run(test, tmp_path, "mismatch")
    assert code == 1
    assert "another hash seed or order; the legs differ in ['stdout']" in said


def test_the_command_is_given_program_input_and_limits(tmp_path: Path) -> None:
    code = "print('é')\r\n\tpass\n"
    reduced = program(code, stdin="1\n2\n", limits={"memory_mb": 64, "wall_s": 3})
    test, *_ = write_reproducer(reproducer(reduced), tmp_path / "a folder")
    _, _, given = run(test, tmp_path, "match")
    folder = tmp_path / "a folder"
    assert given["code"] == code
    words = given["argv"]
    assert isinstance(words, list)
    assert words[:6] == [
        "evaluate",
        str(folder / "program.py"),
        "--language",
        "python",
        "--stdin",
        str(folder / "stdin.txt"),
    ]
    assert Limits.model_validate_json(words[words.index("--limits") + 1]) == reduced.limits
    assert words[-1] == "--json"
    assert (folder / "stdin.txt").read_text() == "1\n2\n"


def test_what_is_not_needed_is_not_written(tmp_path: Path) -> None:
    files = write_reproducer(reproducer(program()), tmp_path)
    assert sorted(path.name for path in files) == ["command.txt", "program.py", "test_889264938267.py"]
    assert (tmp_path / "command.txt").read_text() == "crucible evaluate program.py --language python\n"


def test_words_of_the_program_cannot_leave_their_place_in_the_test(tmp_path: Path) -> None:
    plain = reproducer(program())
    hostile = plain.fingerprint.model_copy(
        update={"summary": "\"\"\" ''' {cause}\\\n\u2028raise SystemExit(7) # \\"}
    )
    test, *_ = write_reproducer(plain.model_copy(update={"fingerprint": hostile}), tmp_path / "out")
    assert run(test, tmp_path, "match")[0] == 0


def test_a_folder_that_cannot_be_written_is_the_callers_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written to .*name a writable folder with --out"):
        write_reproducer(reproducer(program()), tmp_path / "file")


def test_sizes_count_lines_and_bytes() -> None:
    size = size_of(program("é\n\nb", stdin="1\n"))
    assert (size.lines, size.bytes, size.stdin_lines, size.stdin_bytes) == (3, 5, 1, 2)
