"""What each kind of rule overlooks, and what it must leave alone."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crucible.normalise import Kind, normalise
from tests.support.streams import rule, streams

OVERLOOKED = [
    (Kind.LINE_ENDINGS, b"a\r\nb\r\n", b"a\nb\n"),
    (Kind.TIMESTAMPS, b"at 2026-01-02 03:04:05.678 x", b"at 2026-01-02 03:59:00 x"),
    (Kind.TIMESTAMPS, b"2026-01-02T03:04:05,123Z", b"2026-01-02T03:00:00,9Z"),
    (Kind.TIMINGS, b"Ran 3 tests in 0.002s\n", b"Ran 3 tests in 11.350s\n"),
    (Kind.TIMINGS, b"ok (12.3ms)", b"ok (981\xc2\xb5s)"),
    (Kind.TIMINGS, b"--- PASS: TestSum (0.00s)", b"--- PASS: TestSum (1.25s)"),
    (Kind.TIMINGS, b"1 passed in 0.12 seconds", b"1 passed in 3.40 seconds"),
    (Kind.TIMINGS, b"  duration_ms 1.25\n", b"  duration_ms 13\n"),
    (Kind.MEMORY_ADDRESSES, b"<function f at 0x7f3a5c0d2e10>", b"<function f at 0x55d0aa>"),
    (Kind.MEMORY_ADDRESSES, b"Main$Node@1b6d3586", b"Main$Node@4554617c"),
    (Kind.TEMP_PATHS, b"'/tmp/tmpk3x_9a0b/in.txt'", b"'/tmp/tmp00000000/in.txt'"),
    (Kind.TEMP_PATHS, b"/var/tmp/ccA1b2C3.o", b"/var/tmp/cczzzzzz.o"),
    (Kind.PATTERN, b"request 00ff done", b"request a1 done"),
    (Kind.HASH_ORDERED, b"{'b', 'a'}", b"{'a', 'b'}"),
    (Kind.HASH_ORDERED, b"x = { 2:{c,a,b}, 1:'}' } y", b"x = { 1:'}', 2:{a,c,b} } y"),
]
COMPARED = [
    (Kind.LINE_ENDINGS, b"a\r\nb\n", b"a\nb\n"),
    (Kind.LINE_ENDINGS, b"a\r\nb\r\n", b"a\r\nb\r"),
    (Kind.LINE_ENDINGS, b"a\r\n", b"a"),
    (Kind.TIMESTAMPS, b"2026-01-02 03:04:05", b"2026-01-02 04:04:05"),
    (Kind.TIMESTAMPS, b"2026-01-02 03:04:05+00:00", b"2026-01-02 03:04:05+01:00"),
    (Kind.TIMESTAMPS, b"1970-01-01 00:00:01", b"1970-01-01 00:00:02"),
    (Kind.TIMINGS, b"speed 0.5s", b"speed 0.6s"),
    (Kind.TIMINGS, b"Ran 3 tests in 0.002s", b"Ran 4 tests in 0.002s"),
    (Kind.TIMINGS, b"arrives in 3 seconds", b"arrives in 4 seconds"),
    (Kind.TIMINGS, b"item(5s)", b"item(6s)"),
    (Kind.MEMORY_ADDRESSES, b"0x7f3a5c0d2e10", b"0x7f3a5c0d2e11"),
    (Kind.MEMORY_ADDRESSES, b"offset at 0x1f", b"offset at 0x2f"),
    (Kind.MEMORY_ADDRESSES, b"<A at 0x7f3a5c0d2e10>", b"<B at 0x7f3a5c0d2e10>"),
    (Kind.TEMP_PATHS, b"/tmp/report.txt", b"/tmp/result.txt"),
    (Kind.TEMP_PATHS, b"/home/tmp/tmpk3x_9a0b", b"/home/tmp/tmp00000000"),
    (Kind.TEMP_PATHS, b"/tmp/tmpk3x_9a0b/a", b"/tmp/tmpk3x_9a0b/b"),
    (Kind.PATTERN, b"request 00ff failed", b"request a1 failed"),
    (Kind.HASH_ORDERED, b"[2, 1]", b"[1, 2]"),
    (Kind.HASH_ORDERED, b"{[2, 1]}", b"{[1, 2]}"),
    (Kind.HASH_ORDERED, b"{1, 2}", b"{1, 2, 2}"),
    (Kind.HASH_ORDERED, b"{2,\n1}", b"{1,\n2}"),
    (Kind.HASH_ORDERED, b"{'b, a'}", b"{'a, b'}"),
]
HOSTILE = [b"{", b"{a,", b"{'", b"{{b,a},", b"(", b"(1", b" ", b"\r", b"/tmp/", b"1", b"in 1", b"@a", b"'\\"]


@pytest.mark.parametrize(("kind", "left", "right"), OVERLOOKED)
def test_what_a_kind_is_about_is_overlooked(kind: Kind, left: bytes, right: bytes) -> None:
    assert left != right
    assert normalise(rule(kind), left) == normalise(rule(kind), right)


@pytest.mark.parametrize(("kind", "left", "right"), COMPARED)
def test_what_looks_alike_and_is_a_real_difference_is_not(kind: Kind, left: bytes, right: bytes) -> None:
    assert normalise(rule(kind), left) != normalise(rule(kind), right)


@pytest.mark.parametrize("kind", Kind)
@given(streams)
@example(b"a\r\r\n")
@example(b"/tmp/tmp01234567/tmp/tmp01234567")
@example(b"request 1 done request 2 done")
@example(b"at 0x123456 at 0x123456@123456 A@123456@123456")
def test_a_kind_takes_any_bytes_and_has_nothing_to_do_a_second_time(kind: Kind, stream: bytes) -> None:
    once = normalise(rule(kind), stream)
    assert normalise(rule(kind), once) == once


@pytest.mark.parametrize("kind", Kind)
@given(streams)
def test_a_kind_leaves_as_many_words_and_line_feeds_as_there_were(kind: Kind, stream: bytes) -> None:
    after = normalise(rule(kind), stream)
    assert len(after.split()) == len(stream.split())
    assert after.count(b"\n") == stream.count(b"\n")


@given(
    st.recursive(st.sampled_from("ab"), lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=12)
)
def test_the_order_of_items_is_overlooked_at_every_depth(display: object) -> None:
    def shown(value: object, step: int) -> bytes:
        if isinstance(value, str):
            return value.encode()
        assert isinstance(value, list)
        return b"{" + b", ".join(shown(item, step) for item in value[::step]) + b"}"

    by_hash = rule(Kind.HASH_ORDERED)
    assert normalise(by_hash, shown(display, 1)) == normalise(by_hash, shown(display, -1))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("piece", HOSTILE)
def test_no_stream_takes_time_that_grows_faster_than_it_does(kind: Kind, piece: bytes) -> None:
    size = 1 << 18  # quadratic time would not end within the limit of a test
    stream = piece * (size // len(piece))
    assert len(normalise(rule(kind), stream).split()) == len(stream.split())
