"""What the Prefect UI is offered: a form that reads well, and a schedule by settings."""

from pathlib import Path

import pytest
from prefect.exceptions import ParameterTypeError

from crucible.errors import SettingsError
from crucible.models import Verdict
from crucible.settings import ScheduleSettings, load
from flows.forms import Notify
from flows.serving import sweeps
from flows.sweep import parity_sweep

HERE = Path.cwd()


def test_every_field_of_the_form_has_a_title_a_description_and_a_default() -> None:
    fields = parity_sweep.parameters.properties
    assert list(fields) == [
        "corpora",
        "recorded",
        "limit",
        "min_evaluations",
        "ignore_expectations",
        "notify",
    ]
    for name, field in fields.items():
        assert field["title"] != name, name
        assert field["title"][0].isupper(), name
        assert field["description"].endswith("."), name
        assert "default" in field, name
    assert parity_sweep.parameters.required == []
    assert parity_sweep.parameters.definitions["Notify"]["enum"] == [each.value for each in Notify]


@pytest.mark.parametrize(
    "misfit",
    [{"recorded": -1}, {"limit": -1}, {"min_evaluations": 0}, {"notify": "at night"}, {"corpora": 3}],
)
def test_what_does_not_fit_the_form_is_refused(misfit: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(misfit))):
        parity_sweep.validate_parameters(misfit)


def test_somebody_is_told_of_those_verdicts_that_were_asked_for() -> None:
    due = {when: [verdict for verdict in Verdict if when.is_due(verdict)] for when in Notify}
    assert due == {
        Notify.NEVER: [],
        Notify.FAIL: [Verdict.FAIL],
        Notify.UNLESS_PASS: [Verdict.FAIL, Verdict.INCONCLUSIVE],
    }


async def test_the_deployment_is_scheduled_and_filled_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_SCHEDULE_CRON", "30 2 * * 1")
    monkeypatch.setenv("CRUCIBLE_SCHEDULE_TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("CRUCIBLE_SCHEDULE_CORPORA", "bundled, some/corpus.jsonl")
    monkeypatch.setenv("CRUCIBLE_SCHEDULE_RECORDED", "500")
    made = await sweeps(load(ScheduleSettings))
    [schedule] = made.schedules or []
    assert schedule.schedule.model_dump(include={"cron", "timezone"}) == {
        "cron": "30 2 * * 1",
        "timezone": "Europe/Berlin",
    }
    assert made.parameters == {
        "corpora": ["bundled", f"{HERE}/some/corpus.jsonl"],
        "recorded": 500,
    }
    assert made.entrypoint == "flows.sweep.parity_sweep"


async def test_an_empty_cron_expression_is_no_schedule() -> None:
    assert not (await sweeps(ScheduleSettings(cron=""))).schedules


async def test_what_is_no_cron_expression_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_SCHEDULE_CRON='at night': "):
        await sweeps(ScheduleSettings(cron="at night"))


def test_what_is_no_time_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_SCHEDULE_TIMEZONE", "../etc/passwd")
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_SCHEDULE_TIMEZONE='../etc/passwd'"):
        load(ScheduleSettings)
