"""The stack that is up: its servers, and what its API says of its readiness."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

import httpx

from crucible.errors import ServiceUnavailable
from crucible.settings import Settings
from deployments.stack import StackState, read_state
from tasks.http_faults import http_faults

_READINESS_WITHIN_S = 5.0


def server_url(settings: Settings, setting: Literal["redis_url", "celery_redis_url"]) -> str:
    """The URL of the server that is set, else of the stack that is up; else raises ``ServiceUnavailable``."""
    url: str | None = getattr(settings, setting) or getattr(read_state(settings.home), setting, None)
    if url is None:
        variable = f"CRUCIBLE_{setting.upper()}"
        raise ServiceUnavailable(
            f"no stack runs here and {variable} is not set; start one with `crucible up`"
        )
    return url


def api_client(state: StackState, timeout_s: float) -> httpx.Client:
    """A client of the stack's API that may do everything; a proxy is for servers elsewhere."""
    headers = {"Authorization": f"Bearer {state.api_key}"}
    return httpx.Client(base_url=state.api_url, headers=headers, timeout=timeout_s, trust_env=False)


@dataclass(frozen=True, slots=True)
class Readiness:
    """``missing`` says what is at fault, by name, and why; empty when the stack is ready.

    ``services`` are the background services of all processes, as ``GET /ready`` lists them.
    """

    missing: dict[str, str]
    services: list[dict[str, Any]]


def ask_readiness(state: StackState) -> Readiness:
    """How ready the stack is; an API that does not say is what is missing."""
    seam = http_faults(f"the API at {state.api_url}", "see its log")
    try:
        with seam, api_client(state, _READINESS_WITHIN_S) as client:
            answer = client.get("/ready")
        document = answer.json()
    except (ServiceUnavailable, ValueError) as error:
        return Readiness({"api": str(error)}, [])
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        return Readiness({"api": f"{answer.status_code} to GET /ready: {document.get('detail')}"}, [])
    return Readiness(document.get("missing", {}), document.get("services", []))
