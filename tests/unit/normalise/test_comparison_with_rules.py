"""What rules change in a comparison and in what re-runs say of it."""

from base64 import b64encode
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.compare import compare
from crucible.confirm import classify, confirmed, is_settled
from crucible.models import Classification, Evaluation, Expectation, Observation, Outcome
from crucible.normalise import Kind, RuleSet
from tests.support.streams import pairs, rule, rule_sets, streams

PROGRAM = Evaluation(id="e", language="python", code="")
BY_ADDRESS = RuleSet(rules=(rule(Kind.MEMORY_ADDRESSES),))
ALL = RuleSet(rules=tuple(rule(kind) for kind in reversed(Kind)))


def wrote(stdout: bytes = b"", stderr: bytes = b"", **others: object) -> Observation:
    keys = {"outcome": Outcome.OK, "exit_code": 0, **others}
    streams = {"stdout_b64": b64encode(stdout).decode(), "stderr_b64": b64encode(stderr).decode()}
    return Observation.model_validate({**keys, **streams})


def address(number: int) -> Observation:
    return wrote(f"<A object at 0x7f00{number:08x}>\n".encode())


observations = st.builds(wrote, streams, streams, exit_code=st.sampled_from([0, 1]))
runs = st.tuples(pairs, pairs).map(
    lambda both: (wrote(both[0][0], both[1][0]), wrote(both[0][1], both[1][1]))
)


def test_a_pair_that_differs_by_what_a_rule_overlooks_is_a_match_that_names_the_rule() -> None:
    found = compare("ev", PROGRAM, address(1), address(2), rules=ALL)
    assert found.classification is Classification.MATCH
    assert found.normalised_by == ("memory_addresses",)
    assert found.differences == ()
    assert (found.legacy, found.celery) == (address(1), address(2))


def test_a_pair_that_is_equal_anyway_needs_no_rule() -> None:
    found = compare("ev", PROGRAM, address(1), address(1), rules=ALL)
    assert found.classification is Classification.MATCH
    assert found.normalised_by == ()


def test_all_rules_that_a_pair_needs_are_named_and_no_others() -> None:
    legacy = wrote(b"{'b', 'a', <A at 0x7f0000000001>}\n", b"Ran 1 test in 0.001s\n")
    celery = wrote(b"{<A at 0x7e0000000002>, 'a', 'b'}\n", b"Ran 1 test in 0.002s\n")
    found = compare("ev", PROGRAM, legacy, celery, rules=ALL)
    assert found.normalised_by == ("timings", "memory_addresses", "hash_ordered")


def test_of_two_rules_that_do_the_same_one_is_needed() -> None:
    twice = RuleSet(rules=(rule(Kind.TIMINGS, name="one"), rule(Kind.TIMINGS, name="two")))
    pair = wrote(b"Ran 1 test in 0.001s"), wrote(b"Ran 1 test in 0.002s")
    assert len(compare("ev", PROGRAM, *pair, rules=twice).normalised_by) == 1


def test_what_rules_do_not_explain_is_a_mismatch_told_in_raw_bytes() -> None:
    other = wrote(b"<B object at 0x7f0000000002>\n")
    found = compare("ev", PROGRAM, address(1), other, rules=ALL)
    assert found.classification is Classification.MISMATCH
    assert found.normalised_by == ()
    assert found.differences == compare("ev", PROGRAM, address(1), other).differences


@pytest.mark.parametrize(
    "unlike",
    [{"exit_code": 1}, {"outcome": Outcome.WALL_LIMIT}, {"signal": "SIGKILL"}, {"stdout_truncated": True}],
)
def test_no_rule_reaches_outcomes_codes_signals_and_truncated_streams(unlike: dict[str, object]) -> None:
    celery = Observation.model_validate({**address(2).model_dump(), **unlike})
    assert compare("ev", PROGRAM, address(1), celery, rules=ALL).classification is Classification.MISMATCH


@pytest.mark.parametrize("others", [{"fields": ("stderr",)}, {"languages": ("java",)}])
def test_a_rule_for_another_stream_or_language_does_nothing(others: dict[str, object]) -> None:
    rules = RuleSet(rules=(rule(Kind.MEMORY_ADDRESSES, **others),))
    assert compare("ev", PROGRAM, address(1), address(2), rules=rules).normalised_by == ()


def test_a_rule_that_expired_does_nothing() -> None:
    rules = RuleSet(rules=(rule(Kind.MEMORY_ADDRESSES, expires=date(2026, 5, 1)),))
    for today, kind in (
        (date(2026, 4, 30), Classification.MATCH),
        (date(2026, 5, 1), Classification.MISMATCH),
    ):
        found = compare("ev", PROGRAM, address(1), address(2), rules=rules.active(today))
        assert found.classification is kind


@given(st.tuples(observations, observations) | runs, rule_sets)
def test_comparison_with_rules_is_symmetric(
    observed: tuple[Observation, Observation], rules: RuleSet
) -> None:
    left, right = observed
    there = compare("ev", PROGRAM, left, right, rules=rules)
    back = compare("ev", PROGRAM, right, left, rules=rules)
    assert there.classification is back.classification
    assert there.normalised_by == back.normalised_by


@given(runs, rule_sets)
def test_the_rules_that_are_named_are_enough_and_none_is_too_much(
    observed: tuple[Observation, Observation], rules: RuleSet
) -> None:
    left, right = observed
    named = compare("ev", PROGRAM, left, right, rules=rules).normalised_by
    needed = [each for each in rules.rules if each.name in named]
    for left_out in [None, *needed]:
        some = RuleSet(rules=tuple(each for each in needed if each is not left_out))
        found = compare("ev", PROGRAM, left, right, rules=some)
        if named:
            assert (found.classification is Classification.MATCH) == (left_out is None)


def test_variation_that_rules_overlook_excuses_no_difference() -> None:
    legacy = [address(number) for number in range(4)]
    celery = [wrote(b"<B object at 0x7f0000000001>\n") for _ in range(4)]
    assert classify(PROGRAM, [*legacy, celery[0]], celery) is Classification.NONDETERMINISTIC
    assert classify(PROGRAM, legacy, celery, BY_ADDRESS) is Classification.MISMATCH


def test_an_answer_that_legacy_gives_but_for_what_rules_overlook_is_noise() -> None:
    def coin(side: str, number: int) -> Observation:
        return wrote(f"{side} <A at 0x7f00{number:08x}>\n".encode())

    legacy, celery = [coin("heads", 1), coin("tails", 2)], [coin("tails", 3), coin("tails", 4)]
    first = compare("ev", PROGRAM, legacy[0], celery[0], rules=BY_ADDRESS)
    assert first.classification is Classification.MISMATCH
    again = confirmed(PROGRAM, first, legacy[1:], celery[1:], BY_ADDRESS)
    assert again.classification is Classification.NONDETERMINISTIC
    assert confirmed(PROGRAM, first, legacy[1:], celery[1:]).classification is Classification.MISMATCH


def test_a_declared_program_is_not_believed_to_vary_by_what_rules_overlook() -> None:
    declared = PROGRAM.model_copy(update={"expect": Expectation(deterministic=False)})
    legacy = [address(number) for number in range(4)]
    celery = [wrote(f"<B object at 0x7f00{number:08x}>\n".encode()) for number in range(4)]
    assert is_settled(declared, legacy, celery, planned=3)
    assert not is_settled(declared, legacy, celery, 3, BY_ADDRESS)
