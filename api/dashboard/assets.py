"""The files that pages load, for anybody: nothing in them is secret."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from api.dashboard.rendering import Pages
from api.problems import Problem

_FOR_GOOD = "public, max-age=31536000, immutable"


def assets_router(pages: Pages) -> APIRouter:
    """``/static/{name}``; addresses in pages carry a digest, so that a browser never asks twice."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{name}")
    async def file(name: str) -> Response:
        if name not in pages.files:
            raise Problem(HTTPStatus.NOT_FOUND, f"no page loads a file {name!r}")
        content, kind = pages.files[name]
        headers = {"Cache-Control": _FOR_GOOD, "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=kind, headers=headers)

    return router
