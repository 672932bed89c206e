"""Values refuse what they do not know, and errors form one tree."""

import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

from crucible import errors
from crucible.errors import CorpusError, CrucibleError, SettingsError
from crucible.models import Evaluation, Limits, Observation
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from crucible.settings import ExecutorSettings, Settings, load
from tests.support.settings import setting_kinds


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Limits().wall_s = 1  # type: ignore[misc]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="wall"):
        Limits.model_validate({"wall": 3})


@pytest.mark.parametrize("limits", [{"wall_s": 0}, {"cpu_s": 601}, {"memory_mb": 1}, {"output_kb": -1}])
def test_limits_outside_their_range_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(limits)


def test_a_program_may_be_empty_or_large_but_not_beyond_the_limit() -> None:
    assert Evaluation(id="e", language="python", code="").code == ""
    assert Evaluation(id="e", language="python", code="#" * (5 << 20))
    with pytest.raises(ValidationError, match=f"the limit is {MAX_PROGRAM_BYTES}"):
        Evaluation(id="e", language="python", code="#" * (50 << 20))


def test_the_json_of_an_observation_has_the_keys_of_the_contract() -> None:
    assert {
        *("outcome", "exit_code", "signal", "stdout_b64", "stderr_b64", "stdout_truncated"),
        *("stderr_truncated", "duration_s", "cpu_s", "memory_peak_mb", "executor", "isolation_level", "leg"),
    } <= set(Observation.model_fields)


def test_every_error_is_in_the_tree_and_drawn_there() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(kind, CrucibleError) for kind in kinds)
    assert errors.__doc__ is not None
    assert [kind.__name__ for kind in kinds if kind.__name__ not in errors.__doc__] == []


def test_a_corpus_error_says_where() -> None:
    error = CorpusError("c.jsonl", 7, "limits.wall", "unknown key")
    assert str(error) == "c.jsonl, line 7, key 'limits.wall': unknown key"


def test_every_setting_is_described() -> None:
    kinds = setting_kinds()
    assert len(kinds) > 4
    assert [
        f"{kind.__name__}.{name}"
        for kind in kinds
        for name, field in kind.model_fields.items()
        if not field.description
    ] == []


def test_a_setting_that_does_not_fit_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_EXECUTOR_SLOTS", "none")
    with pytest.raises(SettingsError, match="CRUCIBLE_EXECUTOR_SLOTS='none'"):
        load(ExecutorSettings)


def test_settings_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_API_PORT", "8123")
    assert load(Settings).api_port == 8123
    monkeypatch.setenv("CRUCIBLE_API_PORT", "8124")
    assert load(Settings).api_port == 8124


def test_every_setting_is_in_the_documents() -> None:
    text = (Path(__file__).parents[3] / "docs" / "settings.md").read_text()
    rows = [
        f"`{kind.model_config['env_prefix']}{name.upper()}`"
        for kind in setting_kinds()
        for name in kind.model_fields
    ]
    assert [row for row in rows if row not in text] == []
