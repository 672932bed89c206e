"""Overload at the API: shadow work goes first, what users wait for goes last, and both are told once."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from api.load import Shedding
from crucible.models import Leg
from crucible.rollout.stage import Route, Stage
from crucible.store import Store
from flows.batching import MOST_WAITING
from tasks.cancellation import Cancellations
from tests.support.api import Api
from tests.support.traffic import at_stage
from tests.support.valkey import free_port

PROGRAM = {"id": "prints/one", "language": "python", "code": "print(1)"}
BOTH = ("legacy", "celery")


async def routed(api: Api, number: int = 1) -> list[Route]:
    """The routes of so many new evaluations."""
    response = await api.client.post("/evaluations", json=[PROGRAM] * number)
    assert response.status_code == 202, response.text
    return await routes(api.store, [each["id"] for each in response.json()])


async def routes(store: Store, ids: Sequence[str]) -> list[Route]:
    found = [each.route for each in await store.work(ids)]
    assert None not in found
    return [each for each in found if each is not None]


def fill(api: Api, load: float) -> None:
    """So much of the queue is taken besides."""
    assert api.batcher.reserve(round(load * MOST_WAITING))


async def test_above_the_threshold_traffic_goes_without_its_shadow_and_says_so(api: Api) -> None:
    (before,) = await routed(api)
    fill(api, 0.6)
    (shed,) = await routed(api)
    assert (before.legs, before.shed) == (BOTH, False)
    assert (shed.legs, shed.shed) == (("legacy",), True)


@pytest.mark.parametrize(
    ("stage", "leg"), [(Stage.SHADOW, "legacy"), (Stage.CANARY, "celery"), (Stage.LIVE, "celery")]
)
async def test_the_leg_that_answers_is_the_one_that_stays(api: Api, stage: Stage, leg: Leg) -> None:
    await at_stage(api.store, stage, sample=100)
    fill(api, 0.6)
    (shed,) = await routed(api)
    assert (shed.authority, shed.legs, shed.shed) == (leg, (leg,), True)


@pytest.mark.parametrize("stage", [Stage.LEGACY, Stage.CELERY])
async def test_where_there_is_no_shadow_nothing_changes(api: Api, stage: Stage) -> None:
    await at_stage(api.store, stage)
    (before,) = await routed(api)
    fill(api, 0.6)
    (later,) = await routed(api)
    assert before == later
    assert not later.shed


async def test_nothing_authoritative_is_refused_before_the_queue_is_full(api: Api) -> None:
    api.flows.go.clear()
    fill(api, 0.5)
    for _ in range(MOST_WAITING // 2000):
        assert all(each.shed for each in await routed(api, 1000))
    fill(api, 1 - api.batcher.load)
    response = await api.client.post("/evaluations", json=PROGRAM)
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 60


async def test_a_refusal_says_later_the_longer_the_queue_is(api: Api) -> None:
    fill(api, 1)
    first = await api.client.post("/evaluations", json=PROGRAM)
    assert first.headers["retry-after"] == "60", "nothing has left the queue yet, as far as anybody knows"


def test_it_is_told_when_it_begins_and_when_it_ends_and_not_for_each_request() -> None:
    shedding = Shedding(above=0.5)
    with capture_logs() as lines:
        found = [shedding.look(load, 10) for load in (0.1, 0.5, 0.6, 0.9, 0.45, 0.55, 0.4, 0.45)]
    assert found == [False, False, True, True, True, True, False, False]
    assert [each["event"] for each in lines] == [
        "shadow work shed from now on",
        "shadow work done again",
    ]
    assert lines[1]["submitted_meanwhile"] == 40


@pytest.mark.parametrize(("above", "load"), [(0.0, 0.01), (1.0, 1.0)])
def test_at_its_ends_the_setting_means_always_and_never(above: float, load: float) -> None:
    assert Shedding(above).look(load, 1) is (above == 0)


async def test_when_redis_is_away_a_cancellation_says_when_to_come_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(api, 1 - 1 / MOST_WAITING)
    api.flows.go.clear()
    evaluation_id = (await api.client.post("/evaluations", json=PROGRAM)).json()["id"]
    cancellations = Cancellations(f"redis://127.0.0.1:{free_port()}/0", {})
    monkeypatch.setattr(api.desk, "_cancel_evaluations", cancellations.mark)
    response = await api.client.delete(f"/evaluations/{evaluation_id}")
    await cancellations.aclose()
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
