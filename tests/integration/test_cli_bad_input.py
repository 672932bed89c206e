"""Whatever is wrong with what a user gives is told in one line, before anything is started or stored."""

import os
import socket
from pathlib import Path

import pytest

from crucible.models.evaluation import MAX_PROGRAM_BYTES
from tests.support.command_line import Done
from tests.support.corpora import line, prints, write_corpus
from tests.support.in_process import Run, run

__all__ = ["run"]


@pytest.fixture(autouse=True)
def _nothing_is_stored(tmp_path: Path) -> object:
    yield
    assert not (tmp_path / "home" / "crucible.db").exists()


def is_refused(done: Done, *parts: str, code: int = 2) -> None:
    assert (done.code, done.stdout) == (code, ""), done
    assert done.stderr.startswith("crucible: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("frobnicate", ["'frobnicate'", "crucible --help"]),
        ("sweep", ["CORPUS", "crucible sweep --help"]),
        ("sweep --nope corpus", ["--nope"]),
        ("sweep --limit 0 corpus", ["--limit", "1"]),
        ("sweep --limit many corpus", ["--limit"]),
        ("sweep --min-evaluations 0 corpus", ["--min-evaluations"]),
        ("evaluate", ["FILE"]),
        ("execute", ["name a program file"]),
        ("bench --front --store", ["--front, --store and --scaling", "by itself"]),
        ("execute program.py --sandbox chroot", ["--sandbox", "chroot"]),
        ("corpus", ["command", "crucible corpus --help"]),
        ("corpus import bogus file", ["bogus"]),
        ("corpus import mbpp missing.jsonl", ["missing.jsonl"]),
        ("corpus import mbpp missing.jsonl --json", ["--output"]),
    ],
)
def test_wrong_usage(run: Run, words: str, parts: list[str]) -> None:
    is_refused(run(*words.split()), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"id": "a", "langu', ["line 1", "not JSON"]),
        ('{"id": "a", "language": "python", "code": "", "colour": 1}', ["line 1", "'colour'"]),
        ('{"id": "a", "language": "python"}', ["line 1", "'code'"]),
        ('{"id": "a", "language": "cobol", "code": ""}', ["line 1", "'language'", "'cobol'"]),
        (
            '{"id": "a", "language": "python", "code": "", "limits": {"wall_s": 0}}',
            ["'limits.wall_s'", "0.1 to 600"],
        ),
        ('{"id": "a", "language": "python", "code": "", "priority": 10}', ["'priority'", "0 to 9"]),
        ("[1, 2]", ["line 1"]),
    ],
)
def test_a_corpus_line_that_does_not_fit(run: Run, tmp_path: Path, text: str, parts: list[str]) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(text)
    is_refused(run("sweep", corpus), str(corpus), *parts)


def test_the_last_line_of_a_corpus_is_looked_at_before_the_first_is_run(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", [*prints(1000), {"id": "last"}])
    is_refused(run("sweep", corpus, "--limit", "1"), "line 1001")


def test_an_id_that_two_files_share(run: Run, tmp_path: Path) -> None:
    first = write_corpus(tmp_path / "first.jsonl", prints(3))
    second = write_corpus(tmp_path / "second.jsonl", [line("fresh", ""), line("prints/1", "")])
    is_refused(run("sweep", first, second), f"{second}, line 2", "'prints/1'", f"{first}, line 2")


def test_a_corpus_that_is_no_file(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    is_refused(run("sweep", tmp_path / "missing"), "missing", "no such file")
    is_refused(run("sweep", tmp_path), "is a folder")
    is_refused(run("sweep", pipe), str(pipe), "pipe")


def test_a_report_folder_that_cannot_be_written_is_told_before_the_sweep(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(1))
    is_refused(run("sweep", corpus, "--report", corpus / "report"), "--report", str(corpus))


@pytest.mark.parametrize("command", ["evaluate", "execute"])
def test_a_program_that_is_no_program(run: Run, tmp_path: Path, command: str) -> None:
    huge, binary = tmp_path / "huge.py", tmp_path / "binary.py"
    huge.write_bytes(b"#" * 50_000_000)
    binary.write_bytes(b"print(1) # \xff")
    is_refused(run(command, tmp_path / "missing.py"), "missing.py", "does not exist")
    is_refused(run(command, tmp_path, "--language", "python"), "is a folder")
    is_refused(run(command, huge), "huge.py", str(MAX_PROGRAM_BYTES))
    is_refused(run(command, binary), "binary.py", "UTF-8")
    is_refused(run(command, __file__, "--stdin", tmp_path / "missing"), "missing", "does not exist")
    is_refused(run(command, __file__, "--language", "cobol"), "'cobol'", "python")


def test_a_program_whose_language_its_name_does_not_tell(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("print(1)")
    is_refused(run("evaluate", program), "--language")


@pytest.mark.parametrize(
    ("limits", "part"),
    [("much", "JSON"), ("[]", "object"), ('{"memory_mb": 1}', "memory_mb"), ('{"memory": 64}', "memory")],
)
def test_limits_that_are_none(run: Run, limits: str, part: str) -> None:
    is_refused(run("evaluate", __file__, "--limits", limits), "--limits", part)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("EXECUTOR_SLOTS", "none", "CRUCIBLE_EXECUTOR_SLOTS='none'"),
        ("EXECUTOR_3_MEMORY_LIMIT_MB", "much", "CRUCIBLE_EXECUTOR_3_MEMORY_LIMIT_MB='much'"),
        ("LEGACY_CONCURRENCY", "0", "CRUCIBLE_LEGACY_CONCURRENCY='0'"),
        ("API_PORT", "70000", "CRUCIBLE_API_PORT='70000'"),
        ("METRICS_PORT", "65534", "=65536: there is no such port"),
        ("DATABASE_URL", "mysql://here/db", "CRUCIBLE_DATABASE_URL names 'mysql'"),
        ("REDIS_URL", "localhost:6379", "CRUCIBLE_REDIS_URL=localhost:6379"),
        ("EXECUTOR_3_URL", "localhost:8100", "CRUCIBLE_EXECUTOR_3_URL=localhost:8100"),
    ],
)
def test_a_setting_that_cannot_be_used(run: Run, tmp_path: Path, name: str, value: str, part: str) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(1))
    is_refused(run("sweep", corpus, **{name: value}), part)


def test_a_data_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(1))
    is_refused(run("sweep", corpus, HOME=str(corpus / "home")), "CRUCIBLE_HOME", str(corpus / "home"))


def test_a_port_in_use(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        is_refused(run("sweep", corpus, API_PORT=port), f"CRUCIBLE_API_PORT={port}", "in use")


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_REDIS_URL"])
def test_a_redis_that_is_not_there_is_the_platform_s_fault(run: Run, tmp_path: Path, name: str) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(1))
    swept = run("sweep", corpus, **{name: "redis://:secret@127.0.0.1:1/0"})
    is_refused(swept, f"CRUCIBLE_{name}=redis://127.0.0.1:1/0", f"unset CRUCIBLE_{name}", code=4)
    assert "secret" not in swept.stderr
