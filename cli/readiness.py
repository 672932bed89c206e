"""What the API of a stack that is up says of its readiness, and of the loops in all processes."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from crucible.errors import ServiceUnavailable
from deployments.stack import StackState
from tasks.http_faults import http_faults

_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """``missing`` says what is at fault, by name, and why; empty when the stack is ready.

    ``services`` are the background services of all processes, as ``GET /ready`` lists them.
    """

    missing: dict[str, str]
    services: list[dict[str, Any]]


def ask_readiness(state: StackState) -> Readiness:
    """How ready the stack is; an API that does not say is what is missing."""
    headers = {"Authorization": f"Bearer {state.api_key}"}
    try:
        with http_faults(f"the API at {state.api_url}", "see its log"):
            answer = httpx.get(f"{state.api_url}/ready", headers=headers, timeout=_WITHIN_S, trust_env=False)
        document = answer.json()
    except (ServiceUnavailable, ValueError) as error:
        return Readiness({"api": str(error)}, [])
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        return Readiness({"api": f"{answer.status_code} to GET /ready: {document.get('detail')}"}, [])
    return Readiness(document.get("missing", {}), document.get("services", []))
