"""Differences of what the legs printed."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.report.visible import MAX_LINES, Kind, unified_diff

lines_of_text = st.lists(st.sampled_from([b"a\n", b"b\n", b"c \n", b"\r\n", b"a"]), max_size=30).map(b"".join)


def shown(legacy: bytes, celery: bytes) -> list[str]:
    return [f"{line.kind.value}{line.text}" for line in unified_diff(legacy, celery)]


@given(lines_of_text, lines_of_text)
def test_there_is_a_difference_exactly_when_the_bytes_differ(legacy: bytes, celery: bytes) -> None:
    diff = unified_diff(legacy, celery)
    assert bool(diff) == (legacy != celery)
    if diff:
        assert {line.kind for line in diff} & {Kind.LEGACY, Kind.CELERY}


@given(st.lists(st.sampled_from("abc"), max_size=20), st.lists(st.sampled_from("abc"), max_size=20))
def test_minus_and_plus_lines_account_for_the_difference_in_length(left: list[str], right: list[str]) -> None:
    legacy, celery = ("".join(f"{line}\n" for line in lines).encode() for lines in (left, right))
    kinds = [line.kind for line in unified_diff(legacy, celery)]
    assert kinds.count(Kind.CELERY) - kinds.count(Kind.LEGACY) == len(right) - len(left)


@given(lines_of_text, lines_of_text, st.integers(1, 10))
def test_the_diff_is_never_longer_than_asked_for_and_a_note(legacy: bytes, celery: bytes, most: int) -> None:
    assert len(unified_diff(legacy, celery, most)) <= most + 1


def test_a_changed_line_stands_between_its_context() -> None:
    before, after = b"1\n2\n3\n4\n", b"6\n7\n8\n9\n"
    assert shown(before + b"old\n" + after, before + b"new\n" + after) == [
        "@legacy line 2, celery line 2",
        " 2",
        " 3",
        " 4",
        "-old␊",
        "+new␊",
        " 6",
        " 7",
        " 8",
    ]


def test_a_missing_last_line_feed_is_said() -> None:
    assert shown(b"a\nb", b"a\nb\n")[2:] == ["-b", "\\⏎ missing at end of file", "+b␊"]


def test_crlf_against_lf_can_be_told_apart() -> None:
    assert shown(b"a\r\n", b"a\n")[1:] == ["-a␍␊", "+a␊"]


def test_the_part_that_differs_is_pointed_at() -> None:
    _, legacy, celery = unified_diff(b"at 10:01 UTC\n", b"at 10:27 UTC\n")
    assert legacy.text[slice(*legacy.changed)] == "01"
    assert celery.text[slice(*celery.changed)] == "27"


def test_output_against_silence_is_all_minus() -> None:
    assert shown(b"a\nb\n", b"")[1:] == ["-a␊", "-b␊"]


def test_what_is_not_shown_is_counted() -> None:
    diff = unified_diff(b"a\n" * 1000, b"b\n" * 900)
    assert len(diff) == MAX_LINES + 1
    assert diff[-1].text == f"not shown: {1000 - MAX_LINES + 1:,} more lines of legacy, 900 more of celery"


def test_terminal_and_page_control_is_escaped() -> None:
    _, legacy, celery = unified_diff(b"\x1b[31mred\x9b\n", b"\xff\x00</script>\n")
    assert (legacy.text, celery.text) == ("\\x1b[31mred\\x9b␊", "\\xff␀</script>␊")


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    ("legacy", "celery"),
    [
        (b"x" * MEGABYTE + b"A", b"x" * MEGABYTE + b"B"),
        (b"a\n" * (MEGABYTE // 2), b"b\n" * (MEGABYTE // 2)),
        (b"\n" * MEGABYTE, b"\n" * (MEGABYTE - 1)),
        (b"ab\nba\n" * (MEGABYTE // 6), b"ba\nab\nb\n" * (MEGABYTE // 8)),
        (
            b"".join(b"%d\n" % n for n in range(150_000)),
            b"".join(b"%d\n" % (n + n % 2) for n in range(150_000)),
        ),
    ],
    ids=["one line", "no line in common", "one line feed less", "much repeated", "every other line"],
)
def test_a_megabyte_costs_less_than_reading_it_three_hundred_times(legacy: bytes, celery: bytes) -> None:
    start = process_time()
    for _ in range(300):
        legacy.count(b"\n")
        celery.count(b"\n")
    reading = process_time() - start
    start = process_time()
    diff = unified_diff(legacy, celery)
    assert process_time() - start < reading
    assert 1 < len(diff) <= MAX_LINES + 1
    assert sum(len(line.text) for line in diff) < 20_000
