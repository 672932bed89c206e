"""Everything that the description of the API shows can be done as it stands there, on a whole stack."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deployments.stack import StackState
from tests.support.stacks import client_of

pytestmark = pytest.mark.stack

_UNDRAWN = "/sweeps/{sweep_id}/plots/latency.svg"
"""There is none before a sweep has ended."""


@pytest.fixture
def client(stack: StackState) -> Iterator[httpx.Client]:
    """A client of the stack's API. What the examples began is stopped afterwards, and nothing is held."""
    with client_of(stack, 60) as made:
        yield made
        assert made.put("/rollout", json={"action": "set", "held": False}).is_success


def bodies(operation: dict[str, Any]) -> list[Any]:
    """The bodies to send: each example, or none at all."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return [each["value"] for each in content.get("examples", {}).values()] or [None]


def test_each_request_is_answered_with_a_success_that_is_described(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    ids: dict[str, str] = {}

    def send(path: str, method: str, operation: dict[str, Any], body: Any) -> None:
        # Only the beginning is read: one of the answers is a stream without end.
        with client.stream(method, path.format(**ids), json=body) as response:
            assert response.is_success, (method, path, body, response.read())
            assert str(response.status_code) in operation["responses"], (method, path)
            if method == "post" and not isinstance(body, list):
                ids[f"{path[1:-1]}_id"] = response.read() and response.json()["id"]

    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path != _UNDRAWN
    ]
    # What is made comes first, since the others want its id; what is cancelled comes last.
    operations.sort(key=lambda each: ("post", "get", "put", "delete").index(each[1]))
    for path, method, operation in operations:
        for body in bodies(operation):
            send(path, method, operation, body)
    assert set(ids) == {"evaluation_id", "sweep_id"}
