"""Applying rules to a stream. Bytes in, bytes out, whatever the bytes are."""

from collections.abc import Callable, Iterable, Mapping

from crucible.normalise.displays import hash_ordered
from crucible.normalise.masks import line_endings, memory_addresses, temp_paths, timestamps, timings
from crucible.normalise.pattern import compiled
from crucible.normalise.rules import Kind, Rule

_BUILT_IN: Mapping[Kind, Callable[[bytes], bytes]] = {
    Kind.LINE_ENDINGS: line_endings,
    Kind.TIMESTAMPS: timestamps,
    Kind.TIMINGS: timings,
    Kind.MEMORY_ADDRESSES: memory_addresses,
    Kind.TEMP_PATHS: temp_paths,
    Kind.HASH_ORDERED: hash_ordered,
}


def normalised(stream: bytes, rules: Iterable[Rule]) -> bytes:
    """``stream`` after ``rules``, one after the other, whatever field and language they are for."""
    for rule in rules:
        stream = normalise(rule, stream)
    return stream


def normalise(rule: Rule, stream: bytes) -> bytes:
    """``stream`` after one rule. To apply it again changes nothing."""
    if rule.pattern is not None:
        return compiled(rule.pattern).sub(rule.token, stream)
    return _BUILT_IN[rule.kind](stream)
