"""What gates ask can be set, and makes sense or is refused by name."""

import pytest

from crucible.errors import SettingsError
from crucible.settings import GateSettings, load


def test_lists_are_given_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_GATE_CANARY_STEPS", "10, 50")
    monkeypatch.setenv("CRUCIBLE_GATE_STRATA_TAGS", "nightly,slow")
    found = load(GateSettings)
    assert (found.canary_steps, found.strata_tags) == ((10, 50), ("nightly", "slow"))
    assert GateSettings.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CANARY_STEPS", "5,1", "rise"),
        ("CANARY_STEPS", "", "rise"),
        ("CANARY_STEPS", "50,101", "100"),
        ("P0", "0", "greater than 0"),
        ("ALPHA", "1", "less than 1"),
        ("P_OK", "0.5", "CRUCIBLE_GATE_P_OK"),
        ("P1", "0.00001", "CRUCIBLE_GATE_P_OK"),
    ],
)
def test_what_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"CRUCIBLE_GATE_{name}", value)
    with pytest.raises(SettingsError, match=says):
        load(GateSettings)
