"""Plots of sweeps are served to pages that embed them, and to nobody who does not know the sweep's id."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from crucible.ids import new_sweep_id
from crucible.models import Counts, SweepReport, Verdict
from crucible.report.summary import LatencyRecorder
from tests.support.api import Api


async def finished(api: Api, *seconds: float) -> str:
    """A sweep in the store whose programs ran so long; its id."""
    recorder = LatencyRecorder()
    for each in seconds:
        recorder.add(each)
    sweep_id = new_sweep_id()
    await api.store.begin_sweep(sweep_id, {})
    await api.store.finish_sweep(
        SweepReport(
            sweep_id=sweep_id,
            verdict=Verdict.PASS,
            reasons=("all equal",),
            counts=Counts(),
            mismatch_rate_upper=None,
            confidence=0.95,
            throughput_per_s=1,
            duration_s=1,
            started_at=datetime.now(UTC),
            corpora=("secret-name.jsonl",),
            flow_run_ids=("run",),
            latency={leg: recorder.summary() for leg in ("legacy", "celery")},
        )
    )
    return sweep_id


async def test_a_plot_is_an_image_that_can_do_nothing_and_needs_no_key(api: Api) -> None:
    sweep_id = await finished(api, 0.1, 0.2)
    response = await api.stranger.get(f"/sweeps/{sweep_id}/plots/latency.svg")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("image/svg+xml")
    assert response.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert ET.fromstring(response.text).tag.endswith("svg")
    assert "secret-name" not in response.text
    assert (await api.stranger.get(f"/sweeps/{sweep_id}/plots/latency.svg")).text == response.text


@pytest.mark.parametrize("sweep_id", ["sw-0", "nonsense", "sw-" + "0" * 26, "..%2f..%2fetc"])
async def test_a_sweep_that_is_none_has_no_plot(api: Api, sweep_id: str) -> None:
    response = await api.stranger.get(f"/sweeps/{sweep_id}/plots/latency.svg")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_sweep_that_is_not_finished_or_ran_nothing_has_no_plot_yet(api: Api) -> None:
    begun = new_sweep_id()
    await api.store.begin_sweep(begun, {})
    for sweep_id in (begun, await finished(api)):
        assert (await api.stranger.get(f"/sweeps/{sweep_id}/plots/latency.svg")).status_code == 404


async def test_many_sweeps_can_be_drawn_again_and_again(api: Api) -> None:
    ids = [await finished(api, 0.1) for _ in range(70)]
    for sweep_id in [*ids, ids[0]]:
        assert (await api.stranger.get(f"/sweeps/{sweep_id}/plots/latency.svg")).status_code == 200
