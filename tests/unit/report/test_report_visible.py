"""What a program printed can be read and controls nothing."""

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from crucible.report.visible import (
    MAX_LINE_BYTES,
    clip,
    count_lines,
    excerpt,
    first_lines,
    visible,
    visible_text,
)

BACK = {"·": b" ", "→": b"\t", "␍": b"\r", "␊": b"\n", "␀": b"\0"}


def bytes_again(text: str) -> bytes:
    """Undo ``visible``: the proof that nothing is lost."""
    parts = re.split(r"(\\x[0-9a-f]{2}|[·→␍␊␀])", text)
    return b"".join(
        part.encode()
        if index % 2 == 0
        else BACK[part]
        if part in BACK
        else bytes([int(part.removeprefix(r"\x"), 16)])
        for index, part in enumerate(parts)
    )


@given(st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb"(\\|x|1|b|\x1b| |\xc2\xb7)*")))
@example(rb"\x1b")
@example(rb"\\x1b")
@example("a · b → c ␊".encode())
def test_no_two_outputs_look_the_same(data: bytes) -> None:
    assert bytes_again(visible(data)) == data


@given(st.binary())
def test_nothing_that_controls_a_terminal_or_xml_is_let_through(data: bytes) -> None:
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"}
    assert not [character for character in visible(data) if unicodedata.category(character) in unsafe]


def test_invisible_bytes_are_shown_by_their_marks() -> None:
    assert visible(b" a b  c\t\r\n\0\x1b\xff ") == "·a b··c→␍␊␀\\x1b\\xff·"


def test_letters_of_every_script_stay_readable() -> None:
    assert visible("naïve 日本語 шум 🙂".encode()) == "naïve 日本語 шум 🙂"


def test_direction_overrides_and_look_alike_spaces_are_escaped() -> None:
    assert visible("a\u202eb\u00a0c\u200dd\u3164".encode()) == (
        "a\\xe2\\x80\\xaeb\\xc2\\xa0c\\xe2\\x80\\x8dd\\xe3\\x85\\xa4"
    )


def test_a_lone_surrogate_in_a_name_does_no_harm() -> None:
    assert visible_text("x\ud800") == "x\\xed\\xa0\\x80"


def test_a_long_line_is_shortened_around_the_place_that_matters() -> None:
    line = b"x" * 500_000 + b"HERE" + b"y" * 500_000
    shown = clip(line, around=500_000)
    assert shown.startswith("⟨499,950 bytes⟩xxx")
    assert "HERE" in shown
    assert shown.endswith(" bytes⟩")
    assert len(shown) < 2 * MAX_LINE_BYTES


def test_shortening_does_not_split_a_character() -> None:
    assert "\\x" not in clip("é".encode() * 1000, around=501)


@given(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), st.integers(1, 9))
def test_first_lines_and_the_count_of_the_rest_cover_all(data: bytes, most: int) -> None:
    lines, more = first_lines(data, most)
    assert data.startswith(b"".join(lines))
    assert len(lines) + more == count_lines(data)


def test_an_excerpt_says_that_the_last_line_feed_is_missing() -> None:
    assert excerpt(b"a\nb", 5).end_missing
    assert not excerpt(b"a\nb\n", 5).end_missing
    assert not excerpt(b"", 5).end_missing
