"""Times in buckets: each time lies within its bucket, and a bucket is a hundredth wide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.store.tally import bucket_of, lower_s, upper_s


@given(st.floats(1e-6, 1e6))
def test_a_time_lies_within_its_bucket_which_is_narrow(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert lower_s(bucket) <= seconds * (1 + 1e-9)
    assert seconds <= upper_s(bucket) * (1 + 1e-9)
    assert upper_s(bucket) / lower_s(bucket) == pytest.approx(1.01)


@given(st.floats(-1, 1e-6), st.floats(1e-6, 1e6))
def test_what_is_too_short_to_be_a_time_is_the_shortest(none: float, some: float) -> None:
    assert bucket_of(none) == bucket_of(1e-6) <= bucket_of(some)
