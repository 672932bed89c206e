"""Times as numbers of buckets, each a hundredth wider than the one before: a histogram that adds up."""

import math

_GROWTH = math.log(1.01)
_LEAST_S = 1e-6


def bucket_of(seconds: float) -> int:
    """The bucket that ``seconds`` falls into; what is below a microsecond falls into that of one."""
    return math.ceil(math.log(max(seconds, _LEAST_S)) / _GROWTH)


def lower_s(bucket: int) -> float:
    """No time in ``bucket`` is below this, in seconds."""
    return math.exp((bucket - 1) * _GROWTH)


def upper_s(bucket: int) -> float:
    """No time in ``bucket`` is above this, in seconds."""
    return math.exp(bucket * _GROWTH)
