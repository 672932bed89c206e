"""Mismatches of one cause have one digest, whatever program shows it; those of two causes have two."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.compare import compare
from crucible.fingerprints import Change, fingerprint
from crucible.models import Evaluation, Outcome
from tests.support.comparisons import differ, seen

ZONE = [
    ("('UTC', 'UTC') UTC +0000 (1970, 1, 1, 0, 0, 0)\n", "('JST', 'JST') JST +0900 (1970, 1, 1, 9, 0, 0)\n"),
    ("2026-11-22\n", "2026-11-23\n"),
    ("LANG = C.UTF-8\nTZ = UTC\n", "LANG = C.UTF-8\nTZ = Asia/Tokyo\n"),
    ("Thu Jan  1 00:00:00 UTC 1970\n", "Thu Jan  1 09:00:00 JST 1970\n"),
    ("Wed Dec 31 19:00:00 EST 1969\n", "Thu Jan  1 00:00:00 UTC 1970\n"),
    ("at 2024-05-01T12:30:00.250\n", "at 2024-05-01T18:15:00.250\n"),
    ("time.struct_time(tm_year=1970, tm_hour=0)\n", "time.struct_time(tm_year=1970, tm_hour=9)\n"),
    ("23:50\n", "08:50\n"),
    ("0\n", "-32400\n"),
    ("1700000000\n", "1700032400\n"),
    ("offset +01:00\n", "offset +02:00\n"),
    ("-0500\n", "+0000\n"),
    ("01/02/24 00:00:00\n", "01/01/24 19:00:00\n"),
    ("{'TZ': 'UTC'}\n", "{'TZ': 'Europe/Berlin'}\n"),
]
HASHING = [
    ("{'b', 'a', 'c'}\n", "{'a', 'c', 'b'}\n"),
    ("b\na\nc\n", "a\nc\nb\n"),
    ("done 3\nbeta 2 alpha 1\n", "done 3\nalpha 1 beta 2\n"),
    ("PYTHONHASHSEED=0\n", "PYTHONHASHSEED=1\n"),
    ("-2894326139465237571\n", "6213214283425283464\n"),
    ("at 12:00 b a\n", "at 12:00 a b\n"),
]
MEMORY = [
    ("MemoryError caught\n", "35184372088832\n"),
    ("terminate called after throwing an instance of 'std::bad_alloc'\n", "fine\n"),
]


@pytest.mark.parametrize(
    ("change", "pairs"), [(Change.ZONE, ZONE), (Change.HASHING, HASHING), (Change.MEMORY, MEMORY)]
)
def test_programs_that_show_one_cause_have_one_digest_in_every_language(change, pairs) -> None:
    found = [
        fingerprint(differ(*pair, language=language)) for pair in pairs for language in ("python", "ruby")
    ]
    assert [each.kind for each in found] == [change] * len(found)
    assert len({each.digest for each in found}) == 1
    assert len({each.summary for each in found}) == 1


def test_less_memory_is_one_cause_however_a_program_shows_it() -> None:
    killed = seen(outcome=Outcome.MEMORY_LIMIT, exit_code=None, signal="SIGKILL")
    says_so = seen("ERR_WORKER_OUT_OF_MEMORY\n", outcome=Outcome.NONZERO_EXIT, exit_code=3)
    raised = seen("", "Traceback\nMemoryError\n", outcome=Outcome.NONZERO_EXIT, exit_code=1)
    pairs = [
        (seen("1\n"), killed),
        (says_so, killed),
        (seen("1\n"), raised),
        ("1\n", "no: MemoryError\n"),
    ]
    found = {fingerprint(differ(*pair)).digest for pair in pairs}
    assert len(found) == 1
    back = fingerprint(differ(killed, seen("1\n")))
    assert back.digest not in found
    assert back.template == "legacy has less"


DIFFERENT = {
    "zone": ("00:00:00\n", "09:00:00\n"),
    "clock": ("2024-01-01 00:00:00\n", "2024-01-01 00:00:07\n"),
    "hashing": ("a b\n", "b a\n"),
    "memory": ("fine\n", "MemoryError\n"),
    "address": ("<object at 0x7f0000001000>\n", "<object at 0x7f0000002000>\n"),
    "rounding": ("0.1\n", "0.10000000000000002\n"),
    "cut short": ("one\ntwo\n", "one\n"),
    "longer": ("one\n", "one\ntwo\n"),
    "line ends": ("one\ntwo\n", "one\r\ntwo\n"),
    "spaces": ("one  two\n", "one two\n"),
    "value": ("total 1\n", "total 2\n"),
    "other words": ("True\n", "False\n"),
    "other words yet": ("red\n", "green\n"),
}


@pytest.mark.parametrize(("one", "other"), list(combinations(DIFFERENT, 2)))
def test_different_causes_have_different_digests(one: str, other: str) -> None:
    assert fingerprint(differ(*DIFFERENT[one])).digest != fingerprint(differ(*DIFFERENT[other])).digest


@pytest.mark.parametrize(
    ("legacy", "celery", "kind"),
    [
        ("1000\n", "1900\n", Change.VALUE),
        ("12345678901234567890\n", "12345678897234567594\n", Change.HASHING),
        ("9223372036854775808\n", "-9223372036854775808\n", Change.VALUE),
        ("0\n", "9\n", Change.VALUE),
        ("1" * 5000 + "\n", "2" * 5000 + "\n", Change.VALUE),
        ("red\n", "", Change.TEXT),
        ("", "warning\n", Change.TEXT),
        ("1:99:99\n", "1:98:99\n", Change.VALUE),
    ],
)
def test_what_does_not_show_its_cause_is_given_none(legacy: str, celery: str, kind) -> None:
    assert fingerprint(differ(legacy, celery)).kind is kind


def test_what_is_known_by_its_words_alone_is_another_cause_in_another_language() -> None:
    found = {fingerprint(differ("True\n", "False\n", language=each)).digest for each in ("python", "ruby")}
    assert len(found) == 2


def test_an_ending_is_known_by_how_it_ended_and_by_the_last_words() -> None:
    def failed(error: str, line: int):
        return seen(
            "", f'File "/box/main.py", line {line}\n{error}: 7\n', outcome=Outcome.NONZERO_EXIT, exit_code=1
        )

    fine = seen("1\n")
    first, second = (fingerprint(differ(fine, failed("ValueError", line))) for line in (3, 9))
    assert first.digest == second.digest
    assert first.template == "exit 0 → exit 1: ValueError"
    assert first.path == "outcome"
    other = fingerprint(differ(fine, failed("KeyError", 3)))
    died = fingerprint(differ(fine, seen("", outcome=Outcome.SIGNALLED, exit_code=None, signal="SIGSEGV")))
    assert len({first.digest, other.digest, died.digest}) == 3


def test_another_limit_is_known_by_its_name_and_the_leg_that_met_it() -> None:
    fine = seen("1\n")
    slow = seen("", outcome=Outcome.CPU_LIMIT, exit_code=None, signal="SIGKILL")
    loud = seen("1\n", outcome=Outcome.OUTPUT_LIMIT, exit_code=None, signal="SIGKILL")
    found = [fingerprint(differ(*pair)) for pair in ((fine, slow), (slow, fine), (fine, loud), (loud, slow))]
    assert [each.template for each in found] == [
        "cpu_limit on celery",
        "cpu_limit on legacy",
        "output_limit on celery",
        "cpu_limit on celery",
    ]
    assert found[0].digest == found[3].digest


def test_swapped_streams_are_seen_as_such() -> None:
    swapped = differ(seen("out\n", "err\n"), seen("err\n", "out\n"))
    assert fingerprint(swapped).kind is Change.SWAPPED


def test_the_first_place_that_differs_decides() -> None:
    both = differ("PYTHONHASHSEED = 0\nTZ = UTC\n", "PYTHONHASHSEED = 1\nTZ = Asia/Tokyo\n")
    assert fingerprint(both).kind is Change.HASHING
    assert fingerprint(both).path == "stdout, first line"


def test_there_is_none_where_a_side_is_missing_or_nothing_differs() -> None:
    evaluation = Evaluation(id="it", language="python", code="")
    assert fingerprint(compare("ev", evaluation, seen("1"), None)) is None
    assert fingerprint(differ("same\n", "same\n")) is None


def test_digests_are_what_they_were() -> None:
    # They are kept in stores and named in files: a change of theirs is a new epoch for whoever counts them.
    assert fingerprint(differ(*ZONE[0])).digest == "1823b3cdee92"
    assert fingerprint(differ(*HASHING[0])).digest == "889264938267"


@given(legacy=st.binary(max_size=80), celery=st.binary(max_size=80))
def test_any_bytes_have_a_fingerprint_that_is_short_and_stable(legacy: bytes, celery: bytes) -> None:
    found = fingerprint(differ(legacy, celery))
    assert (found is None) == (legacy == celery)
    if found is not None:
        assert found == fingerprint(differ(legacy, celery))
        assert len(found.template) < 400
        assert found.template.isprintable()


PIECES = st.sampled_from(
    ["UTC", "JST", "12:00", "25:61", "2024-01-01", "2024-99-99", "0x7fff0000", "1e999", "-5", "TZ", "=", "\n"]
)


@given(legacy=st.lists(PIECES).map(" ".join), celery=st.lists(PIECES).map(" ".join))
def test_any_mixture_of_telling_pieces_has_a_fingerprint(legacy: str, celery: str) -> None:
    assert (fingerprint(differ(legacy, celery)) is None) == (legacy == celery)
