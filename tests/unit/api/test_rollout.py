"""``/rollout`` over HTTP: what the command line does, for those who come by network."""

from tests.support.api import Api
from tests.support.traffic import matched


async def test_it_says_where_the_migration_stands_and_what_each_gate_says(api: Api) -> None:
    await matched(api.store, 3)

    answer = await api.client.get("/rollout")

    found = answer.json()
    assert (answer.status_code, found["stage"], found["go"]) == (200, "shadow", False)
    assert found["strata"]["all"]["matched"] == 3
    assert found["next"] == {"stage": "canary", "share": 1.0, "needs_go": True}
    assert {gate["state"] for gate in found["gates"]} <= {"go", "waiting", "blocked"}


async def test_a_gate_that_refuses_is_a_conflict_with_all_the_gates(api: Api) -> None:
    answer = await api.client.put("/rollout", json={"action": "advance"})

    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "parity" in {gate["name"] for gate in answer.json()["gates"] if gate["state"] != "go"}
    assert (await api.store.rollout.state()).version == 1


async def test_it_goes_where_it_is_told_and_back(api: Api) -> None:
    wish = {
        "action": "set",
        "stage": "canary",
        "share": 5,
        "force": True,
        "reason": "a drill",
        "actor": "ada",
    }
    there = (await api.client.put("/rollout", json=wish)).json()
    assert (there["stage"], there["share"], there["changed_by"]) == ("canary", 5.0, "ada")

    back = (await api.client.put("/rollout", json={"action": "rollback"})).json()
    assert (back["stage"], back["spent"], back["share"]) == ("legacy", True, 0.0)


async def test_whoever_saw_an_older_version_changes_nothing(api: Api) -> None:
    wish = {"action": "set", "held": True, "version": 1}
    assert (await api.client.put("/rollout", json=wish)).status_code == 200
    answer = await api.client.put("/rollout", json=wish)

    assert answer.status_code == 409
    assert "version 2, not 1" in answer.json()["detail"]


async def test_a_wish_that_does_not_fit_changes_nothing(api: Api) -> None:
    for wish in (
        {"action": "explode"},
        {"action": "set", "share": 101},
        {"action": "set"},
        {"action": "set", "shares": 5},
        {"action": "rollback", "to": "live"},
        {},
    ):
        answer = await api.client.put("/rollout", json=wish)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (await api.store.rollout.state()).version == 1


async def test_it_is_only_for_those_who_show_the_key(api: Api) -> None:
    assert (await api.stranger.get("/rollout")).status_code == 401
    assert (await api.stranger.put("/rollout", json={"action": "rollback"})).status_code == 401
