"""``/sweeps/{id}/plots``: drawings of finished sweeps, for pages that embed them."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import APIRouter, Response

from api.ids import is_sweep_id
from api.openapi import problems
from api.problems import Problem
from crucible.models import SweepReport
from crucible.report.svg import latency_svg

_KEPT = 64
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


class Drawing(Response):
    """An SVG document."""

    media_type = "image/svg+xml"


def plots_router(find_sweep: Callable[[str], Awaitable[SweepReport | None]]) -> APIRouter:
    """Plots need no key: the Prefect UI embeds them as images, and a browser shows no key for an image.

    Whoever has a sweep's id, of which 80 bits are chance, sees how long its programs ran, and no word of
    any of them.
    """
    router = APIRouter(prefix="/sweeps/{sweep_id}/plots")
    drawn: dict[str, str] = {}

    async def draw(sweep_id: str) -> str | None:
        """A sweep is drawn once, for its report may be long; what is finished never changes."""
        report = await find_sweep(sweep_id) if is_sweep_id(sweep_id) else None
        drawing = None if report is None else latency_svg(report.latency)
        if drawing is not None:
            drawn[sweep_id] = drawing
            if len(drawn) > _KEPT:
                del drawn[next(iter(drawn))]
        return drawing

    @router.get("/latency.svg", response_class=Drawing, responses=problems(HTTPStatus.NOT_FOUND))
    async def latency(sweep_id: str) -> Response:
        """How long programs ran on either leg, as an SVG document."""
        drawing = drawn.get(sweep_id) or await draw(sweep_id)
        if drawing is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no finished sweep with run times has the id {sweep_id!r}")
        return Drawing(drawing, headers=_HEADERS)

    return router
