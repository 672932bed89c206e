"""Headers that every answer carries."""

import pytest

from tests.support.api import Api

NOTHING = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/rollout", 200),
        ("/openapi.json", 200),
        ("/ready", 503),
        ("/x", 404),
        ("/rollout?x=1", 422),
    ],
)
async def test_each_answer_forbids_to_be_taken_for_something_else(api: Api, path: str, status: int) -> None:
    response = await api.client.get(path)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == NOTHING
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


async def test_so_do_refusals_and_defects(api: Api) -> None:
    api.batcher.put = None  # type: ignore[assignment,method-assign]
    defect = await api.client.post("/evaluations", json={"language": "python", "code": ""})
    refusal = await api.stranger.get("/rollout")
    assert (defect.status_code, refusal.status_code) == (500, 401)
    for response in (defect, refusal):
        assert response.headers["content-security-policy"] == NOTHING
        assert response.headers["cache-control"] == "no-store"
