"""Patterns of a rule's own: what they may hold, and what holds for all that may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.normalise import Kind, normalise
from crucible.normalise.pattern import compiled
from tests.support.streams import rule


@pytest.mark.parametrize(
    ("pattern", "before", "after"),
    [
        (r"took (\d{1,6}) ms", b"took 12 ms, took 3 s", b"took <pattern> ms, took 3 s"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-\w{4}-x", b"id 01234567-89ab-cdef-x.", b"id <pattern>."),
        (r"pid=(\d{1,7})", b"pid=1,pid=22", b"pid=<pattern>,pid=<pattern>"),
        (r"\[#\x61\](z{2})", b"[#a]zzz", b"[#a]<pattern>z"),
        ("aa(b)a", b"aabaaba", b"aa<pattern>aa<pattern>a"),
    ],
)
def test_what_is_masked_gives_way_to_the_rules_name(pattern: str, before: bytes, after: bytes) -> None:
    assert normalise(rule(Kind.PATTERN, pattern=pattern), before) == after


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(abc+)+", "cannot stand"),
        ("abc.", "cannot stand"),
        ("abc|abd", "cannot stand"),
        ("^abc$", "cannot stand"),
        ("(?:abc)", "cannot stand"),
        (r"\babc", "cannot stand"),
        ("[[a]bc", "cannot stand"),
        ("[a--c]bc", "cannot stand"),
        ("é{2}bc", "cannot stand"),
        ("", "may mask nothing"),
        ("abc()", "may mask nothing"),
        (r"abc(\d?)", "may mask nothing"),
        ("(a)(b)c", "one pair"),
        ("((abc))", "one pair"),
        ("(abc", "one pair"),
        ("abc)", "one pair"),
        ("[z-a]bc", "bad character range"),
        ("a{0}bc", "repeats nothing"),
        ("a{3,2}bc", "repeats nothing"),
        (r"\d{10}", "fits too much"),
        ("[^,]{3}abc", "matches < or >"),
        ("<abc>", "matches < or >"),
        (r"a\sbc", "mask white space"),
        ("a b c", "mask white space"),
        (r"abc(\x0a)", "mask white space"),
        (r"\d{1,3}abc(d)", "no one length"),
        ("abc[a-z]{1,254}", "more than 256 bytes"),
        (r"abc\d{1,17}[0-9a]{1,17}", "289 ways"),
    ],
)
def test_a_pattern_that_could_be_slow_or_hide_too_much_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compiled(pattern)


def test_a_pattern_that_matches_what_it_puts_in_is_refused() -> None:
    with pytest.raises(ValueError, match="give the rule another name"):
        rule(Kind.PATTERN, name="abcd", pattern="abc")


atoms = st.sampled_from(["a", "b", "c", "[ab]", "[bc]", r"\w"])
times = st.sampled_from(["", "?", "{2}", "{1,3}"])
masked = st.lists(st.tuples(atoms, times).map("".join), max_size=3).map("".join)
known_by = st.text("abc", min_size=3, max_size=4)
patterns = st.builds(
    lambda text, at, first, others: f"{text[:at]}({first}{others}){text[at:]}",
    known_by,
    st.integers(0, 4),
    atoms,
    masked,
) | st.builds("{}{}".format, known_by, masked)


@given(patterns, st.text("aabbbccc <>\n", max_size=60).map(str.encode))
def test_whatever_pattern_is_taken_is_idempotent_and_keeps_words_and_lines(
    pattern: str, stream: bytes
) -> None:
    own = rule(Kind.PATTERN, name="x-0", pattern=pattern)
    once = normalise(own, stream)
    assert normalise(own, once) == once
    assert len(once.split()) == len(stream.split())
    assert once.count(b"\n") == stream.count(b"\n")


def test_the_worst_pattern_that_is_taken_still_ends() -> None:
    slow = rule(Kind.PATTERN, pattern="([a]{1,16}[ab]{1,16})xyz")
    stream = b"a" * (1 << 18)
    assert normalise(slow, stream) == stream
