"""``/metrics`` and ``/evaluations/{id}/trace`` while the platform around the API is away."""

import pytest
from prometheus_client import REGISTRY

from crucible.models.access import Scope
from crucible.telemetry.otlp import SpanRecord
from tests.support.api import Api
from tests.support.exposed import exposed
from tests.support.spans import kept_spans

_PROGRAM = {"id": "traced", "language": "python", "code": "print(1)"}


def requests_to(route: str, method: str = "GET", status: str = "404") -> float:
    """How many requests were counted under that route."""
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("crucible_http_request_duration_seconds_count", labels) or 0.0


async def test_parts_that_are_away_are_left_out_and_said_to_be(api: Api) -> None:
    page = await api.client.get("/metrics")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/plain")
    assert 'crucible_part_unanswered{part="queues"} 1.0' in page.text
    assert 'crucible_part_unanswered{part="rollout"} 0.0' in page.text
    assert 'crucible_rollout_stage{stage="shadow"} 1.0' in page.text
    assert "crucible_queue_oldest_seconds" not in exposed([page.text])


async def test_whoever_may_not_read_gets_neither_figures_nor_traces(api: Api) -> None:
    _, text = await api.new_key(Scope.SUBMIT)
    async with api.holder(text) as submitter:
        for path in ("/metrics", f"/evaluations/ev-{'0' * 26}/trace"):
            assert (await submitter.get(path)).status_code == 403
            assert (await api.stranger.get(path)).status_code == 401


async def test_no_caller_can_make_up_labels(api: Api) -> None:
    before, count = requests_to("none"), len(list(REGISTRY.collect()))
    for number in range(5):
        assert (await api.client.get(f"/made-up/{number}")).status_code == 404
        assert (await api.client.request(f"MADE{number}", "/health")).status_code in (404, 405)
    assert requests_to("none") == before + 5
    assert len(list(REGISTRY.collect())) == count
    methods = {
        sample.labels["method"]
        for family in REGISTRY.collect()
        if family.name == "crucible_http_request_duration_seconds"
        for sample in family.samples
    }
    assert methods <= {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "other"}


async def test_requests_are_counted_by_the_template_of_their_path(api: Api) -> None:
    before = requests_to("/evaluations/{evaluation_id}/trace")
    for digit in "01":
        assert (await api.client.get(f"/evaluations/ev-{digit * 26}/trace")).status_code == 404
    assert requests_to("/evaluations/{evaluation_id}/trace") == before + 2


async def test_pages_are_not_counted_as_endpoints(api: Api) -> None:
    page, endpoint = "/dashboard/evaluations/{evaluation_id}", "/evaluations/{evaluation_id}"
    before = requests_to(page, status="303"), requests_to(endpoint, status="303")
    assert (await api.stranger.get(f"/dashboard/evaluations/ev-{'0' * 26}")).status_code == 303
    assert (requests_to(page, status="303"), requests_to(endpoint, status="303")) == (
        before[0] + 1,
        before[1],
    )


async def test_a_trace_is_shown_as_far_as_it_is_kept(api: Api) -> None:
    with kept_spans() as kept:
        submitted = await api.client.post("/evaluations", json=_PROGRAM)
    path = f"/evaluations/{submitted.json()['id']}/trace"
    trace_id = kept.one("submit").trace_id
    assert (await api.client.get(path)).json() == {"trace_id": trace_id, "spans": []}
    failed = kept.one("submit").model_copy(update={"status": "gave up", "attributes": {"run": 1}})
    await api.store.spans.add([failed])
    (span,) = (await api.client.get(path)).json()["spans"]
    assert (span["name"], span["status"], span["attributes"]) == ("submit", "gave up", {"run": 1})
    assert set(span) == {
        *("span_id", "parent_id", "name", "service", "leg", "started_at"),
        *("duration_s", "status", "attributes", "events", "links"),
    }


async def test_what_was_never_traced_has_no_trace(api: Api) -> None:
    submitted = await api.client.post("/evaluations", json=_PROGRAM)
    shown = await api.client.get(f"/evaluations/{submitted.json()['id']}/trace")
    assert shown.json() == {"trace_id": None, "spans": []}


@pytest.mark.parametrize("traceparent", ["garbage", f"00-{'a' * 32}-{'b' * 16}-01", "\u00e4" * 60])
async def test_any_traceparent_is_borne(api: Api, traceparent: str) -> None:
    headers = {b"traceparent": traceparent.encode()}
    with kept_spans() as kept:
        submitted = await api.client.post("/evaluations", json=_PROGRAM, headers=headers)
    assert submitted.status_code == 202
    submit: SpanRecord = kept.one("submit")
    assert submit.trace_id != "a" * 32
    assert len(submit.links) == (1 if traceparent.startswith("00-") else 0)
