"""Planted faults: drawn evenly and again the same, each a real difference, none hidden by any rule."""

from base64 import b64encode
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crucible.compare import MutantKind, applicable, compare, is_caught, mutant_for, mutate
from crucible.models import Classification, Evaluation, Observation, Outcome
from crucible.normalise import Kind, RuleSet
from tests.support.streams import pairs, rule, rule_sets, streams

PROGRAM = Evaluation(id="e", language="python", code="")
SEEN_BY_COMPARISON = [kind for kind in MutantKind if kind is not MutantKind.DUPLICATE]
EVERY_RULE = RuleSet(rules=tuple(rule(kind) for kind in Kind))


def observed(stdout: bytes = b"out\n", stderr: bytes = b"", **others: object) -> Observation:
    keys = {"outcome": Outcome.OK, "exit_code": 0, **others}
    written = {"stdout_b64": b64encode(stdout).decode(), "stderr_b64": b64encode(stderr).decode()}
    return Observation.model_validate({**keys, **written})


observations = st.builds(
    observed,
    streams,
    streams,
    outcome=st.sampled_from(Outcome),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.sampled_from([None, "SIGSEGV"]),
    stdout_truncated=st.booleans(),
    stderr_truncated=st.booleans(),
)


@pytest.mark.parametrize("kind", SEEN_BY_COMPARISON)
@given(observations, st.text(max_size=3), rule_sets)
def test_no_set_of_rules_hides_any_fault(
    kind: MutantKind, seen: Observation, seed: str, rules: RuleSet
) -> None:
    mutated = mutate(kind, seed, seen)
    if mutated is not None:
        assert is_caught(kind, PROGRAM, seen, mutated, rules)


@pytest.mark.parametrize("kind", SEEN_BY_COMPARISON)
@given(pairs, pairs, st.text(max_size=3))
def test_no_rule_hides_a_fault_beside_a_pair_that_needed_rules_itself(
    kind: MutantKind, out: tuple[bytes, bytes], err: tuple[bytes, bytes], seed: str
) -> None:
    legacy, celery = observed(out[0], err[0]), observed(out[1], err[1])
    assume(compare("ev", PROGRAM, legacy, celery, rules=EVERY_RULE).classification is Classification.MATCH)
    mutated = mutate(kind, seed, celery)
    if mutated is not None:
        assert is_caught(kind, PROGRAM, legacy, mutated, EVERY_RULE)


@given(observations, st.text(max_size=5))
def test_output_that_is_cut_short_loses_what_can_be_seen(seen: Observation, seed: str) -> None:
    mutated = mutate(MutantKind.TRUNCATED_OUTPUT, seed, seen)
    if mutated is None:
        assert not seen.stdout.split()
        assert not seen.stderr.split()
        return
    words = [*mutated.stdout.split(), *mutated.stderr.split()]
    assert len(words) < len([*seen.stdout.split(), *seen.stderr.split()])
    assert seen.stdout.startswith(mutated.stdout)
    assert seen.stderr.startswith(mutated.stderr)


@pytest.mark.parametrize(
    ("kind", "seen", "mutated"),
    [
        (MutantKind.EXIT_CODE_UP, observed(exit_code=255), observed(exit_code=0)),
        (MutantKind.EXIT_CODE_DOWN, observed(exit_code=0), observed(exit_code=255)),
        (MutantKind.DROPPED_LAST_NEWLINE, observed(b"a\n\n"), observed(b"a\n")),
        (MutantKind.DROPPED_LAST_NEWLINE, observed(b"a", b"b\n"), observed(b"a", b"b")),
        (MutantKind.TRUNCATED_OUTPUT, observed(b"one\n"), observed(b"")),
        (MutantKind.TRUNCATED_OUTPUT, observed(b" ", b" one \n"), observed(b" ", b" ")),
        (MutantKind.SWAPPED_STREAMS, observed(b"a b", b"c"), observed(b"c", b"a b")),
        (
            MutantKind.TIMEOUT_TO_SUCCESS,
            observed(outcome=Outcome.WALL_LIMIT, exit_code=None, signal="SIGKILL"),
            observed(),
        ),
        (
            MutantKind.SUCCESS_TO_TIMEOUT,
            observed(),
            observed(outcome=Outcome.WALL_LIMIT, exit_code=None, signal="SIGKILL"),
        ),
        (MutantKind.DUPLICATE, observed(), observed()),
        (MutantKind.EXIT_CODE_UP, observed(exit_code=None), None),
        (MutantKind.DROPPED_LAST_NEWLINE, observed(b"a"), None),
        (MutantKind.TRUNCATED_OUTPUT, observed(b"\n"), None),
        (MutantKind.SWAPPED_STREAMS, observed(b"a", b"b"), None),
        (MutantKind.TIMEOUT_TO_SUCCESS, observed(), None),
        (MutantKind.SUCCESS_TO_TIMEOUT, observed(outcome=Outcome.NONZERO_EXIT), None),
    ],
)
def test_each_kind_is_the_fault_that_it_is_called(
    kind: MutantKind, seen: Observation, mutated: Observation | None
) -> None:
    assert mutate(kind, "seed", seen) == mutated
    assert (kind in applicable(seen)) == (mutated is not None)


def test_what_was_decoded_before_is_not_what_the_mutant_shows() -> None:
    seen = observed(b"a b", b"c")
    assert seen.stdout == b"a b"
    mutated = mutate(MutantKind.SWAPPED_STREAMS, "", seen)
    assert mutated is not None
    assert (mutated.stdout, mutated.stderr) == (b"c", b"a b")


def test_the_rate_is_the_part_of_pairs_that_carry_a_fault_and_all_kinds_come_as_often() -> None:
    seen = observed(b"one two\nthree\n")
    drawn = [mutant_for("seed", f"ev-{number}", seen, 0.2) for number in range(7000)]
    planted = Counter(found[0] for found in drawn if found is not None)
    assert planted.total() == pytest.approx(1400, rel=0.1)
    assert set(planted) == set(applicable(seen))
    assert all(count == pytest.approx(planted.total() / len(planted), rel=0.25) for count in planted.values())


def test_the_same_seed_draws_the_same_faults_and_another_draws_others() -> None:
    seen = observed(b"one two\nthree\n")

    def faults(seed: str) -> list[object]:
        return [mutant_for(seed, f"ev-{number}", seen, 0.5) for number in range(50)]

    assert faults("a") == faults("a")
    assert faults("a") != faults("b")


def test_a_rate_of_nothing_plants_nothing_and_of_one_plants_everywhere() -> None:
    nothing_to_be_wrong_with = observed(b"", outcome=Outcome.REJECTED, exit_code=None)
    assert all(mutant_for("s", str(number), observed(), 0) is None for number in range(100))
    assert mutant_for("s", "ev", nothing_to_be_wrong_with, 1) == (
        MutantKind.DUPLICATE,
        nothing_to_be_wrong_with,
    )


def test_a_duplicate_is_nothing_for_the_comparison_to_catch() -> None:
    with pytest.raises(ValueError, match="the store refuses"):
        is_caught(MutantKind.DUPLICATE, PROGRAM, observed(), observed())
