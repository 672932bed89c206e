"""The tracing of a process, and its export to real receivers."""

import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY

from crucible.errors import SettingsError
from crucible.telemetry.process import BatchExport, api_of, api_of_process, tracing
from crucible.telemetry.process import Collector as To
from crucible.telemetry.spans import Root, begin, here, inside, root, span
from tests.support.collector import Collector, collecting
from tests.support.spans import KeptSpans
from tests.support.valkey import free_port
from tests.support.waiting import eventually

VARIABLES = ("CRUCIBLE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A receiver on loopback."""
    with collecting() as made:
        yield made


def traced() -> str:
    """Two spans of a trace; returns its id."""
    whole = root("submit", Root.TRAFFIC, {"evaluation": "ev-1"})
    with inside(whole.get_span_context()), span("claim", {"leg": "legacy"}):
        pass
    whole.end()
    return f"{whole.get_span_context().trace_id:032x}"


def names(collector: Collector, trace_id: str) -> set[str]:
    """The names of what a receiver has of a trace."""
    return {each.name for each in collector.of(trace_id)}


def lost(reason: str) -> float:
    """How many spans were lost so until now."""
    return REGISTRY.get_sample_value("crucible_spans_dropped_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_api_gets_all_spans_and_so_does_whatever_collector_is_named(
    variable: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as elsewhere:
        monkeypatch.setenv(variable, elsewhere.url)
        with tracing("of the tests", api_of(collector.url, "secret")):
            trace_id = traced()
    for each in (collector, elsewhere):
        assert names(each, trace_id) == {"submit", "claim"}
        assert {record.service for record in each.records} == {"of the tests"}
    assert {each.get("authorization") for each in collector.headers} == {"Bearer secret"}
    assert {each.get("authorization") for each in elsewhere.headers} == {None}


async def test_spans_come_soon_without_an_end(collector: Collector) -> None:
    with tracing("of the tests", api_of(collector.url, "secret")):
        for _ in range(3):
            trace_id = traced()
            await eventually(lambda trace_id=trace_id: names(collector, trace_id) == {"submit", "claim"})


def test_spans_of_other_services_are_exported_under_their_names(collector: Collector) -> None:
    with tracing("worker", api_of(collector.url, "secret")):
        whole = root("submit", Root.TRAFFIC, {})
        with inside(whole.get_span_context()):
            begin("request", here(), service="executor-3").end()
        whole.end()
    assert {(each.name, each.service) for each in collector.records} == {
        ("submit", "worker"),
        ("request", "executor-3"),
    }


def test_whoever_is_away_costs_the_others_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRUCIBLE_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    before, kept = lost("not written"), KeptSpans()
    with tracing("of the tests", api_of(collector.url, "secret"), kept):
        trace_id = traced()
    assert names(collector, trace_id) == {"submit", "claim"}
    assert [each.name for each in kept.records] == ["claim", "submit"]
    assert lost("not written") - before == 2
    said = capsys.readouterr()
    assert said.out.count("spans are not written") == 1
    assert "Traceback" not in said.out + said.err


async def test_what_is_refused_is_lost_and_what_follows_is_not(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lost("not written")
    with tracing("of the tests", api_of(collector.url, "wrong")):
        collector.status = 401
        for number in (2, 4):  # and the log has one line for both
            traced()
            await eventually(lambda number=number: lost("not written") - before == number)
        collector.status = 200
        trace_id = traced()
    assert names(collector, trace_id) == {"submit", "claim"}
    said = capsys.readouterr().out
    assert said.count("spans are not written") == 1
    assert "401" in said


def test_a_collector_that_hangs_costs_whoever_makes_spans_no_time(collector: Collector) -> None:
    before, most = lost("queue full"), 100
    collector.hang()
    export = BatchExport(To(f"{collector.url}/v1/traces"), most)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    tracer = provider.get_tracer("tests")
    for _ in range(1000):
        tracer.start_span("claim").end()
    assert lost("queue full") - before == 900
    collector.let_go()
    provider.shutdown()
    assert len(collector.records) == most
    assert lost("queue full") - before == 900


def test_there_is_room_again_for_as_many_as_were_exported(collector: Collector) -> None:
    export = BatchExport(To(f"{collector.url}/v1/traces"), 10)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    before = lost("queue full")
    for _ in range(5):
        for _ in range(10):
            provider.get_tracer("tests").start_span("claim").end()
        provider.force_flush()
    provider.shutdown()
    assert len(collector.records) == 50
    assert lost("queue full") == before


def test_a_process_ends_although_its_collector_hangs(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crucible.telemetry.process._WITHIN_S", 0.2)
    collector.hang()
    before = lost("not written")

    def trace_and_end() -> None:
        with tracing("of the tests", api_of(collector.url, "secret")):
            traced()

    ending = threading.Thread(target=trace_and_end)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
    assert lost("not written") - before == 2


def test_what_is_too_long_is_cut_before_it_is_handed_on() -> None:
    kept = KeptSpans()
    with tracing("of the tests", None, kept):
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
    with tracing("of the tests", None, kept):
        pass
    traced()
    assert kept.ended == []


def test_the_environment_names_the_api_and_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUCIBLE_TRACE_URL", raising=False)
    assert api_of_process() is None
    monkeypatch.setenv("CRUCIBLE_TRACE_URL", "http://api:8000/")
    monkeypatch.setenv("CRUCIBLE_EXECUTOR_TOKEN", "secret")
    api = api_of_process()
    assert api == To("http://api:8000/v1/traces", {"Authorization": "Bearer secret"})
    assert "secret" not in repr(api)
    monkeypatch.delenv("CRUCIBLE_EXECUTOR_TOKEN")
    with pytest.raises(SettingsError, match="CRUCIBLE_EXECUTOR_TOKEN is not set"):
        api_of_process()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CRUCIBLE_TRACE_RATIO", "1.5"),
        ("CRUCIBLE_TRACE_URL", "api:8000"),
        ("CRUCIBLE_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable), tracing("of the tests"):
        pass
