"""The bench's programs: harmless, quick, and a corpus like any other."""

import sys
from pathlib import Path

from bench.contenders.bare import run_all
from bench.measure import algorithms, nothing, write_corpus
from crucible.corpus import validate
from executors.languages import LANGUAGES


def test_programs_are_taken_by_turns_until_the_size_is_reached(tmp_path: Path):
    corpus = tmp_path / "corpus.jsonl"
    write_corpus(corpus, algorithms(), 100)
    summary = validate([corpus], LANGUAGES, LANGUAGES)
    assert summary.per_language == {"python": 100}


def test_every_program_ends_well_without_a_sandbox(tmp_path: Path):
    corpus = tmp_path / "corpus.jsonl"
    programs = [*algorithms(), *nothing()]
    write_corpus(corpus, programs, len(programs))
    found = run_all(Path(sys.executable), corpus, tmp_path)
    assert found["programs_cpu_s"] > 0
    assert found["seconds"] > 0
