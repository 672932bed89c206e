"""``/metrics``: for Prometheus, which can send a bearer key."""

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.figures import Figures
from api.guard import Guard
from crucible.models.access import Scope


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
