"""Flow runs of a stack's Prefect server, for tests that look at its pages."""

from typing import Any

import httpx

from tests.support.waiting import patiently


def created(prefect_api_url: str, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A new run of ``deployment``; on SQLite the server may ask for patience while somebody else writes."""
    made: list[httpx.Response] = []
    # A connection each: the server hangs up after it has asked for patience.
    one_each = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(
        base_url=f"{prefect_api_url}/", timeout=60, limits=one_each, trust_env=False
    ) as prefect:
        found = prefect.get(f"deployments/name/{deployment}").raise_for_status().json()

        def is_made() -> bool:
            path = f"deployments/{found['id']}/create_flow_run"
            made.append(prefect.post(path, json={"parameters": parameters}))
            return made[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        patiently(is_made)
    run: dict[str, Any] = made[-1].raise_for_status().json()
    return run


def state_of(prefect_api_url: str, run_id: str) -> str:
    """The type of a run's state; empty where patience is asked for."""
    answer = httpx.get(f"{prefect_api_url}/flow_runs/{run_id}", timeout=60, trust_env=False)
    return str(answer.json()["state_type"]) if answer.is_success else ""


def found_of(prefect_api_url: str, kind: str, run_id: str) -> list[dict[str, Any]]:
    """What there is of ``kind``, as artifacts or task_runs, in a run; none where patience is asked for."""
    wanted = {"flow_runs": {"id": {"any_": [run_id]}}}
    answer = httpx.post(f"{prefect_api_url}/{kind}/filter", json=wanted, timeout=60, trust_env=False)
    found: list[dict[str, Any]] = answer.json() if answer.is_success else []
    return found


def has_steps(prefect_api_url: str, run_id: str, *steps: str) -> bool:
    """Whether Prefect has noted these steps of a run; a page that is opened before may never show them."""
    names = {each["name"].rpartition("-")[0] for each in found_of(prefect_api_url, "task_runs", run_id)}
    return names >= set(steps)
