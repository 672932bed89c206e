"""``POST /v1/traces``: spans as OTLP, kept for those who look at traces, from those who may hand them in."""

import asyncio
import gzip

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from prometheus_client import REGISTRY

from api.routes.spans import MAX_SPANS_BYTES, PROTOBUF
from crucible.models.access import Scope
from crucible.telemetry.process import api_of, tracing
from crucible.telemetry.spans import Root, root
from tests.support.api import KEY, Api
from tests.support.otlp import SERVICE, TRACE_ID, plain, request_of
from tests.support.serving import served
from tests.support.stub_executor import TOKEN


async def post(api: Api, body: bytes, key: str | None = TOKEN, **headers: str) -> httpx.Response:
    """Hand in ``body``, as the processes of a stack do."""
    client = api.stranger if key is None else api.holder(key)
    about = {"content-type": PROTOBUF} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/v1/traces", content=body, headers=about)


async def kept(api: Api) -> list[str]:
    """The ids of the spans that are kept."""
    return [each.span_id for each in await api.store.spans.trace(TRACE_ID)]


def unreadable() -> float:
    """How many spans could not be read until now."""
    return REGISTRY.get_sample_value("crucible_spans_dropped_total", {"reason": "not readable"}) or 0.0


async def test_what_is_handed_in_is_kept(api: Api) -> None:
    answer = await post(api, request_of(plain(1), plain(2)))
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    found = await api.store.spans.trace(TRACE_ID)
    assert [(each.span_id, each.name, each.service) for each in found] == [
        ("01" * 8, "claim", SERVICE),
        ("02" * 8, "claim", SERVICE),
    ]


async def test_what_is_handed_in_twice_is_kept_once(api: Api) -> None:
    for _ in range(2):
        assert (await post(api, request_of(plain(1)))).status_code == 200
    assert await kept(api) == ["01" * 8]


async def test_it_may_be_compressed(api: Api) -> None:
    body = gzip.compress(request_of(plain(1)))
    assert (await post(api, body, content_encoding="gzip")).status_code == 200
    assert await kept(api) == ["01" * 8]


async def test_the_sdk_s_exporter_is_understood(api: Api) -> None:
    async with served(api.app) as url:
        with tracing("of the tests", api_of(url, TOKEN)):
            whole = root("submit", Root.TRAFFIC, {"evaluation": "ev-1"})
            whole.end()
            trace_id = f"{whole.get_span_context().trace_id:032x}"
            async with asyncio.timeout(60):
                while not (found := await api.store.spans.trace(trace_id)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    assert [(each.name, each.service) for each in found] == [("submit", "of the tests")]
    assert found[0].attributes == {"evaluation": "ev-1"}


async def test_spans_beyond_their_bounds_are_rejected_and_the_others_kept(api: Api) -> None:
    before, wrong = unreadable(), plain(1)
    wrong.name = "n" * 301
    answer = await post(api, request_of(wrong, plain(2)))
    assert answer.status_code == 200
    said = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert said.rejected_spans == 1
    assert "docs/tracing.md" in said.error_message
    assert await kept(api) == ["02" * 8]
    assert unreadable() - before == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"garbage", {}, 400, "no ExportTraceServiceRequest of OTLP"),
        (request_of(plain())[:-3], {}, 400, "no ExportTraceServiceRequest of OTLP"),
        (b"garbage", {"content_encoding": "gzip"}, 400, "no gzip"),
        (gzip.compress(request_of(plain()))[:-9], {"content_encoding": "gzip"}, 400, "ends early"),
        (b"{}", {"content_type": "application/json"}, 415, f"send OTLP as {PROTOBUF}"),
        (request_of(plain()), {"content_encoding": "deflate"}, 415, "'deflate'"),
        (bytes(MAX_SPANS_BYTES + 1), {}, 413, str(MAX_SPANS_BYTES)),
        (gzip.compress(bytes(MAX_SPANS_BYTES + 1)), {"content_encoding": "gzip"}, 413, str(MAX_SPANS_BYTES)),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_reason(
    api: Api, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = await post(api, body, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert await kept(api) == []


@pytest.mark.parametrize("key", [None, "a guess"])
async def test_whoever_shows_no_key_or_a_wrong_one_hands_in_nothing(api: Api, key: str | None) -> None:
    answer = await post(api, request_of(plain()), key)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert await kept(api) == []


async def test_the_executors_token_opens_nothing_else(api: Api) -> None:
    for method, path in (("GET", "/evaluations"), ("POST", "/evaluations"), ("GET", "/metrics")):
        answer = await api.holder(TOKEN).request(method, path)
        assert answer.status_code == 403, path


async def test_a_key_with_the_scope_and_the_stack_s_own_may_hand_in(api: Api) -> None:
    _, text = await api.new_key(Scope.TRACES)
    for number, key in enumerate((text, KEY), 1):
        assert (await post(api, request_of(plain(number)), key)).status_code == 200
    assert await kept(api) == ["01" * 8, "02" * 8]


async def test_processes_are_not_held_to_the_rate_of_other_keys(api: Api) -> None:
    api.guard._per_minute = 1
    for _ in range(5):
        assert (await post(api, request_of(plain()))).status_code == 200


async def test_a_store_that_is_away_is_said_to_be_so_that_they_are_handed_in_again(api: Api) -> None:
    async with api.store._database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE spans")
    answer = await post(api, request_of(plain()))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
