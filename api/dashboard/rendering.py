"""Fills the templates of the dashboard, and says what a browser may do with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import PackageLoader

from crucible.models.access import Scope
from crucible.report.reading import asset, reading_environment
from crucible.rollout.stage import stage_in_words


@dataclass(frozen=True, slots=True)
class LiveParts:
    """As the template uses it: topic of the events, address to fetch, elements to put in from there.

    ``after`` is the newest event before the page was read: none falls between the page and its stream.
    """

    topic: str
    after: str
    address: str
    elements: str


class Live:
    """Elements of a page, by id, that follow the events of ``topic``."""

    def __init__(self, topic: str, *elements: str) -> None:
        self._topic = topic
        self._elements = ",".join(f"#{each}" for each in elements)

    def at(self, request: Request) -> LiveParts:
        """For the page at the address of ``request``."""
        query = f"?{request.url.query}" if request.url.query else ""
        return LiveParts(self._topic, request.state.place, f"{request.url.path}{query}", self._elements)


HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: nothing from elsewhere, nothing inline, in no frame."""


class Elsewhere:
    """Where the pages of Prefect and Flower are, for a browser that came through the gateway or did not."""

    def __init__(self, prefect_url: str, gateway_url: str | None) -> None:
        self._prefect_url, self._gateway_url = prefect_url, gateway_url

    def prefect(self, request: Request) -> str:
        """The Prefect UI."""
        base = self._base(request)
        return self._prefect_url if base is None else f"{base}/prefect"

    def flower(self, request: Request) -> str | None:
        """Flower, which only the gateway lets people see; null where there is none."""
        base = self._base(request)
        return None if base is None else f"{base}/flower"

    def _base(self, request: Request) -> str | None:
        return "" if "x-forwarded-host" in request.headers else self._gateway_url


class Pages:
    """Makes pages. ``static`` maps the names of files that pages load to their addresses."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._environment = reading_environment(PackageLoader("api.dashboard"))
        self._elsewhere = elsewhere
        self.files = _files()
        self._environment.globals |= {
            "static": _addresses(self.files),
            "Scope": Scope,
            "stage_in_words": stage_in_words,
        }

    def page(
        self,
        request: Request,
        name: str,
        values: Mapping[str, Any],
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        """The page ``name`` as whoever is signed in may see it: see ``Sessions.needs``."""
        text = self._environment.get_template(f"{name}.html.jinja").render(
            access=getattr(request.state, "access", None),
            path=request.url.path,
            prefect=self._elsewhere.prefect(request),
            flower=self._elsewhere.flower(request),
            **values,
        )
        return HTMLResponse(text, status, HEADERS)


def _files() -> dict[str, tuple[bytes, str]]:
    """What pages load, and its type, by name."""
    htmx = files("django_htmx") / "static" / "django_htmx"
    own = files("api.dashboard") / "static"
    style = asset("palette.css", "base.css", "comparison.css", "plot.css", "waterfall.css").encode()
    script = "text/javascript; charset=utf-8"
    return {
        "crucible.css": (style + (own / "dashboard.css").read_bytes(), "text/css; charset=utf-8"),
        "htmx.js": ((htmx / "htmx-2.min.js").read_bytes(), script),
        "htmx-sse.js": ((htmx / "ext" / "hx-sse-2.min.js").read_bytes(), script),
        "dashboard.js": ((own / "dashboard.js").read_bytes(), script),
        "icon.svg": ((own / "icon.svg").read_bytes(), "image/svg+xml"),
    }


def _addresses(found: Mapping[str, tuple[bytes, str]]) -> dict[str, str]:
    """Each with the digest of its content, so that a browser keeps it until it is another."""
    return {
        name: f"/dashboard/static/{name}?{sha256(content).hexdigest()[:12]}"
        for name, (content, _) in found.items()
    }
