"""``/health`` and ``/ready``: whether this process serves, and whether it can do its work."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from api.figures import Figures
from api.guard import Guard
from api.problems import Problem
from api.readiness import Readiness
from crucible.models.access import Scope
from tasks.background import ServiceState


class Service(BaseModel):
    """A loop in the background of a process."""

    process: str = Field(description="What the process is, its host and its process id.")
    name: str
    required: bool = Field(description="Whether nothing is ready while this one is overdue.")
    failures: int = Field(description="Since the process began.")
    last_error: str | None = Field(description="Stays after it has recovered.")
    failing_s: float = Field(description="For how long it has failed; 0 since a round went well.")
    overdue: str | None = Field(description="Why it is overdue; null while it is not.")

    @classmethod
    def of(cls, process: str, state: ServiceState) -> "Service":
        """``state``, of ``process``."""
        return cls(process=process, **asdict(state))


class Ready(BaseModel):
    """That all is ready."""

    status: Literal["ok"]
    services: list[Service]


def health_router() -> APIRouter:
    """For those who watch processes; it says nothing but that this one lives."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        """200 as long as the process answers."""
        return {"status": "ok"}

    return router


def readiness_router(readiness: Readiness) -> APIRouter:
    """For those who send work."""
    router = APIRouter()

    @router.get("/ready")
    async def ready() -> Ready:
        """200 when everything needed answers and takes work, else 503 naming what does not.

        Both list the background services of all processes.
        """
        health = await readiness.health()
        services = [Service.of(report.process, each) for report in health.reports for each in report.services]
        if health.faults:
            detail = "; ".join(f"{name}: {fault}" for name, fault in health.faults.items())
            shown = [each.model_dump() for each in services]
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, detail, {"missing": health.faults, "services": shown}
            )
        return Ready(status="ok", services=services)

    return router


def metrics_router(figures: Figures, guard: Guard) -> APIRouter:
    """The endpoint of figures."""
    router = APIRouter(dependencies=[Depends(guard.needs(Scope.READ))])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """All figures in Prometheus' text format. A part that does not answer is left out."""
        return Response(await figures.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
