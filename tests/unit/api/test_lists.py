"""``GET /evaluations`` and ``GET /sweeps`` as callers see them: pages, filters, and what fits none."""

import pytest

from api.feed import MOST_FOLLOWERS
from crucible.ids import new_sweep_id
from tests.support.api import Api


async def submitted(api: Api, number: int, **values: object) -> list[str]:
    """The ids of so many evaluations, all settled."""
    order = [{"language": "python", "code": "", "id": f"n-{i}", **values} for i in range(number)]
    answer = await api.client.post("/evaluations", params={"wait": 30}, json=order)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()]


async def test_pages_lead_through_everything_newest_first(api: Api) -> None:
    ids = await submitted(api, 7)
    found, cursor = [], None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.client.get("/evaluations", params=asked)).json()
        found += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ids[::-1]


async def test_what_comes_in_meanwhile_moves_no_page(api: Api) -> None:
    ids = await submitted(api, 4)
    first = (await api.client.get("/evaluations", params={"limit": 2})).json()
    await submitted(api, 3)
    second = (await api.client.get("/evaluations", params={"limit": 2, "cursor": first["next"]})).json()
    assert [each["id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


async def test_filters_are_all_to_be_met(api: Api) -> None:
    ids = await submitted(api, 2, tags=["a", "b"], priority=1)
    await submitted(api, 2, tags=["b"])
    for asked in ({"tag": "a"}, {"tag": "a", "status": "settled"}, {"tag": "a", "classification": "match"}):
        page = (await api.client.get("/evaluations", params=asked)).json()
        assert [each["id"] for each in page["items"]] == ids[::-1], asked
    page = (await api.client.get("/evaluations", params={"tag": "a", "status": "submitted"})).json()
    assert page == {"items": [], "next": None}


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"},
        {"limit": "501"},
        {"cursor": "nonsense"},
        {"cursor": "c3ctMDFNODMxWk5HVlAyNDBFMTZGQlhBWTBaSEs="},
        {"status": "done"},
        {"classification": "same"},
        {"sweep": "1"},
        {"since": "yesterday"},
        {"colour": "blue"},
        {"tag": ""},
    ],
)
async def test_what_fits_no_list_is_said_to(api: Api, asked: dict[str, str]) -> None:
    answer = await api.client.get("/evaluations", params=asked)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["key"] == next(iter(asked))


async def test_sweeps_are_listed_and_shown(api: Api) -> None:
    ids = [new_sweep_id() for _ in range(3)]
    for each in ids:
        await api.store.begin_sweep(each, {})
    page = (await api.client.get("/sweeps", params={"limit": 2})).json()
    assert [each["id"] for each in page["items"]] == ids[:0:-1]
    rest = (await api.client.get("/sweeps", params={"cursor": page["next"]})).json()
    assert [each["id"] for each in rest["items"]] == ids[:1]
    shown = (await api.client.get(f"/sweeps/{ids[0]}")).json()
    assert (shown["verdict"], shown["counts"]["submitted"], shown["report"]) == (None, 0, None)


@pytest.mark.parametrize("sweep_id", ["sw-1", new_sweep_id(), "%00"], ids=["no id", "unknown", "NUL"])
async def test_a_sweep_that_there_is_not_is_not_found(api: Api, sweep_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await api.client.request(method, f"/sweeps/{sweep_id}")
        assert answer.status_code == 404


@pytest.mark.parametrize("place", ["x", "1", "1-", "-1-1", "1-1 ", "9" * 40])
async def test_what_is_the_id_of_no_event_is_said_to_be_none(api: Api, place: str) -> None:
    for asked in ({"params": {"after": place}}, {"headers": {"Last-Event-ID": place}}):
        answer = await api.client.get("/events", **asked)
        assert answer.status_code == 422, asked


async def test_there_is_room_for_so_many_followers_of_events_and_no_more(api: Api) -> None:
    api.feed.followers = MOST_FOLLOWERS
    answer = await api.client.get("/events")
    assert answer.status_code == 503
    assert f"{MOST_FOLLOWERS} follow the events" in answer.json()["detail"]
