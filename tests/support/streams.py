"""Streams as programs write them: what no two runs have in common, among what they have."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from hypothesis import strategies as st

from crucible.normalise import Kind, Rule, RuleSet

_LOOSE = st.one_of(
    st.integers(0, 2**64 - 1).map("<Node object at 0x{:x}>".format),
    st.integers(0, 2**32 - 1).map("Main$Node@{:x}".format),
    st.datetimes().map(str),
    st.text("abc01_", min_size=7, max_size=9).map("/tmp/tmp{}/data.txt".format),
    st.lists(st.sampled_from(["7", "'b, c'", "(2, 1)", "{3, 2}", "x: 'it", "", " a "]), max_size=4).map(
        lambda items: "{" + ",".join(items) + "}"
    ),
    st.sampled_from(
        ["", " ", "\t", "\n", "\r\n", "\r", "\n\n", "{", "}", ",", "'", '"', "(", ")", "@", "at 0x"]
    ),
    st.text(max_size=4),
)


def _joined(parts: Iterable[str]) -> bytes:
    return "".join(parts).encode(errors="replace")


def _in_two_runs(shape: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(values, values).map(lambda both: (shape.format(both[0]), shape.format(both[1])))


_TIGHT = st.one_of(
    _in_two_runs("<Node object at 0x{:x}>\n", st.integers(2**20, 2**64 - 1)),
    _in_two_runs("Main$Node@{:08x} ", st.integers(0, 2**32 - 1)),
    _in_two_runs("Ran 3 tests in {:.3f}s\n", st.floats(0, 1e6)),
    _in_two_runs("passed ({0:.1f}ms) took {0:.6f} seconds\n", st.floats(0, 1e6)),
    _in_two_runs("2026-01-02 03:{0:02}:{0:02}.{0} ", st.integers(0, 59)),
    _in_two_runs("/tmp/tmp{}/data.txt ", st.text("abc01_", min_size=8, max_size=8)),
    _in_two_runs("request {:08x} done\n", st.integers(0, 2**32 - 1)),
    _in_two_runs("{{{}}}\n", st.permutations(["7", "'b, c'", "(2, 1)", "{3, 2}"]).map(", ".join)),
    _LOOSE.map(lambda same: (same, same)),
)
_two_runs = st.lists(_TIGHT, max_size=8)

pairs = _two_runs.map(lambda parts: (_joined(one for one, _ in parts), _joined(other for _, other in parts)))
"""What two runs of one program may have written: the same, but for what no two runs have in common."""

streams = st.lists(_LOOSE, max_size=8).map(_joined) | pairs.map(lambda both: both[0]) | st.binary(max_size=60)
"""What a program may have written: like output of real ones, or any bytes."""


def rule(kind: Kind, **others: object) -> Rule:
    """A rule of ``kind`` that has not expired."""
    keys: dict[str, object] = {"name": kind.value, "owner": "someone", "expires": date(2999, 1, 1)}
    if kind is Kind.PATTERN:
        keys["pattern"] = "request ([0-9a-f]{1,16}) done"
    return Rule.model_validate({"kind": kind, **keys, **others})


rule_sets = st.sets(st.sampled_from(Kind)).map(lambda kinds: RuleSet(rules=tuple(map(rule, sorted(kinds)))))
"""Any of the kinds together."""
