"""Files of rules: what is read, and what is refused in one line that names file, rule and key."""

import re
from datetime import date
from pathlib import Path

import pytest

from crucible.errors import SettingsError
from crucible.normalise import Kind, RuleSet, load_rules
from tests.support.streams import rule

RULE = {"name": '"a"', "kind": '"timings"', "owner": '"me"', "expires": "2027-01-31"}


def written(folder: Path, content: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(content)
    return path


def one_rule(**changes: str | None) -> str:
    keys = {**RULE, **changes}
    return "\n".join(["[[rule]]", *(f"{key} = {value}" for key, value in keys.items() if value is not None)])


def test_a_rule_says_who_owns_it_how_long_it_lasts_and_what_it_may_be_needed_for(tmp_path: Path) -> None:
    (found,) = load_rules(written(tmp_path, one_rule(fields='["stderr"]', languages='["python"]'))).rules
    assert (found.name, found.kind, found.owner, found.expires) == ("a", "timings", "me", date(2027, 1, 31))
    assert (found.fields, found.languages, found.budget, found.version) == (("stderr",), ("python",), 0.01, 1)


def test_the_example_in_the_documents_can_be_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    rules = load_rules(written(tmp_path, example)).rules
    assert [each.kind for each in rules] == [Kind.MEMORY_ADDRESSES, Kind.TIMINGS, Kind.PATTERN]
    assert [kind for kind in Kind if f"| `{kind}` |" not in text] == []


def test_a_file_without_rules_is_the_set_without_rules(tmp_path: Path) -> None:
    assert load_rules(written(tmp_path, "# none yet\n")) == RuleSet()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[[rule]", "rules.toml: not TOML"),
        ("rules = 1", "rules.toml, key 'rules': unknown"),
        ("[rule]\nname = 'a'", "rules.toml, key 'rule': a table; write [[rule]]"),
        ("rule = [1]", "rules.toml, rule number 1: "),
        (one_rule(name=None), "rules.toml, rule number 1, key 'name': missing"),
        (one_rule(name='"A b"'), "rule 'A b', key 'name': 'A b' is no name"),
        (
            one_rule(kind='"colours"'),
            "rule 'a', key 'kind': no kind is called 'colours'; kinds are line_endings",
        ),
        (one_rule(owner=None), "rule 'a', key 'owner': missing; every rule has an owner"),
        (one_rule(owner='""'), "rule 'a', key 'owner': "),
        (one_rule(expires=None), "rule 'a', key 'expires': missing; every rule has a first day"),
        (one_rule(expires='"soon"'), "rule 'a', key 'expires': "),
        (one_rule(expires="2027-01-31T10:00:00"), "rule 'a', key 'expires': "),
        (
            one_rule(owner=None, ownr='"me"'),
            "rule 'a', key 'ownr': unknown; known keys are name, kind, owner",
        ),
        (one_rule(budget="0"), "rule 'a', key 'budget': "),
        (one_rule(budget="0.2"), "rule 'a', key 'budget': "),
        (one_rule(version="0"), "rule 'a', key 'version': "),
        (one_rule(version="true"), "rule 'a', key 'version': "),
        (one_rule(fields="[]"), "rule 'a', key 'fields': "),
        (one_rule(fields='["exit_code"]'), "rule 'a', key 'fields.0': "),
        (one_rule(pattern="'abcd'"), "rule 'a', key 'pattern': only rules of kind pattern have one"),
        (one_rule(kind='"pattern"'), "rule 'a', key 'pattern': missing"),
        (one_rule(kind='"pattern"', pattern="'(abc+)+'"), "rule 'a', key 'pattern': '+)+' cannot stand"),
        (one_rule() + "\n" + one_rule(), "rule 'a', key 'name': another rule has it"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_rules(written(tmp_path, content))
    assert told in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(SettingsError, match="not UTF-8 at byte 6"):
        load_rules(tmp_path / "latin.toml")


def test_a_rule_is_active_until_the_day_before_it_expires() -> None:
    old = rule(Kind.TIMINGS, expires=date(2026, 5, 1))
    new = rule(Kind.TIMESTAMPS, expires=date(2026, 5, 2))
    rules = RuleSet(rules=(old, new))
    assert rules.active(date(2026, 4, 30)) == rules
    assert rules.active(date(2026, 5, 1)).rules == (new,)


def test_the_digest_is_that_of_the_content_and_nothing_else() -> None:
    rules = RuleSet(rules=(rule(Kind.TIMINGS), rule(Kind.PATTERN)))
    again = RuleSet.model_validate_json(rules.model_dump_json())
    assert again == rules
    assert again.digest == rules.digest
    changed = RuleSet(rules=(rule(Kind.TIMINGS, version=2), rule(Kind.PATTERN)))
    assert changed.digest != rules.digest != RuleSet().digest


def test_two_rules_of_one_name_make_no_set() -> None:
    with pytest.raises(ValueError, match="names more than one rule"):
        RuleSet(rules=(rule(Kind.TIMINGS), rule(Kind.TIMINGS)))
