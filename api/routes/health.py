"""``/health`` and ``/ready``: whether this process serves, and whether it can do its work."""

from http import HTTPStatus

from fastapi import APIRouter

from api.problems import Problem
from api.readiness import Readiness


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
    async def ready() -> dict[str, str]:
        """200 when everything needed answers, else 503 naming what does not."""
        faults = await readiness.faults()
        if faults:
            detail = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"missing": faults})
        return {"status": "ok"}

    return router
