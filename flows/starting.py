"""Starts flow runs of deployments, for the process that serves them."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.exceptions import ObjectNotFound

from crucible.errors import ServiceUnavailable
from flows.prefect_client import prefect_client

PARITY_SWEEP = "parity-sweep/scheduled"

_SWEEP_TAG = "sweep:"


async def start_parity_sweep(sweep_id: str, parameters: Mapping[str, Any]) -> str:
    """Have a sweep of that id run as soon as may be; returns its flow run.

    Raises ``ServiceUnavailable`` when Prefect does not answer or nobody has offered sweeps to it.
    """
    try:
        async with prefect_client() as client:
            deployment = await client.read_deployment_by_name(PARITY_SWEEP)
            flow_run = await client.create_flow_run_from_deployment(
                deployment.id, parameters=dict(parameters), tags=[f"{_SWEEP_TAG}{sweep_id}"], name=sweep_id
            )
    except ObjectNotFound as error:
        raise ServiceUnavailable(
            f"Prefect knows no deployment {PARITY_SWEEP}, so no sweep runs; `crucible up` starts who does"
        ) from error
    return str(flow_run.id)


def announced_sweep_id(tags: Sequence[str]) -> str | None:
    """The id under which the flow run with these tags was announced; null when it was not."""
    found = (each.removeprefix(_SWEEP_TAG) for each in tags if each.startswith(_SWEEP_TAG))
    return next(found, None)
