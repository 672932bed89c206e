"""``/openapi.json``: what there is here, for machines."""

from typing import Any

from fastapi import APIRouter, Request

from api.openapi import describe


def description_router() -> APIRouter:
    """The description of the API. A page that shows it would load scripts from elsewhere; there is none."""
    router = APIRouter()

    @router.get("/openapi.json")
    async def openapi(request: Request) -> dict[str, Any]:
        """Every endpoint, what it takes and what it may answer, as an OpenAPI 3.1 document."""
        state = request.app.state
        if not hasattr(state, "description"):
            state.description = describe(request.app)
        description: dict[str, Any] = state.description
        return description

    return router
