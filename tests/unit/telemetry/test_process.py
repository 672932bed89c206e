"""The tracing of a process, and its export to a real receiver."""

import pytest

from crucible.errors import SettingsError
from crucible.telemetry.process import tracing
from crucible.telemetry.roots import Root
from crucible.telemetry.spans import inside, root, span
from tests.support.collector import collecting
from tests.support.spans import KeptSpans

VARIABLES = ("CRUCIBLE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def traced() -> str:
    """Two spans of a trace; returns its id."""
    whole = root("submit", Root.TRAFFIC, {"evaluation": "ev-1"})
    with inside(whole.get_span_context()), span("claim", {"leg": "legacy"}):
        pass
    whole.end()
    return f"{whole.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("variable", VARIABLES)
def test_spans_are_exported_to_whatever_collector_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crucible.telemetry.outbox._LAST_WITHIN_S", 60)
    with collecting() as collector:
        monkeypatch.setenv(variable, collector.url)
        with tracing("of the tests"):
            trace_id = traced()
    assert collector.services == {trace_id: {"of the tests"}}
    assert collector.names == {trace_id: {"submit", "claim"}}


def test_a_collector_that_is_away_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its thread has ended then. It tries again after pauses of chance, and who draws such numbers while
    # Hypothesis does in a later test makes that one fail.
    monkeypatch.setattr("crucible.telemetry.outbox._LAST_WITHIN_S", 60)
    monkeypatch.setenv("CRUCIBLE_OTLP_ENDPOINT", "http://127.0.0.1:1")
    kept = KeptSpans()
    with tracing("of the tests", kept):
        traced()
    assert [each.name for each in kept.records] == ["claim", "submit"]
    assert {each.service for each in kept.records} == {"of the tests"}


def test_what_is_too_long_is_cut_before_it_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptSpans()
    with tracing("of the tests", kept):
        whole = root("submit", Root.TRAFFIC, {"evaluation": "e" * 5000})
        whole.add_event("tried again", {"reason": "r" * 5000})
        for number in range(100):
            whole.add_event(str(number), {})
            whole.set_attribute(str(number), number)
        whole.end()
    (record,) = kept.records
    assert len(record.attributes) <= 32
    assert len(record.events) == 64


def test_nothing_is_traced_once_it_is_over() -> None:
    kept = KeptSpans()
    with tracing("of the tests", kept):
        pass
    traced()
    assert kept.ended == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CRUCIBLE_TRACE_RATIO", "1.5"), ("CRUCIBLE_OTLP_ENDPOINT", "collector:4318")],
)
def test_a_setting_that_does_not_fit_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable), tracing("of the tests"):
        pass
