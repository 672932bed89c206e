"""The application: endpoints, the guard before them, headers of every answer, and problem documents."""

from fastapi import Depends, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from api.dashboard.mount import create_dashboard
from api.openapi import description_router
from api.problems import handle_problems
from api.routes.evaluations import evaluations_router, lists_router
from api.routes.events import events_router
from api.routes.health import health_router, metrics_router, readiness_router
from api.routes.rollout import rollout_router
from api.routes.spans import spans_router, trace_router
from api.routes.sweeps import plots_router, sweeps_router
from api.telling import Told
from api.wiring import Parts
from crucible.models.access import Scope

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class SecureHeaders:
    """Adds them around ``app``. A header that an endpoint has set itself, as pages do, stays as it is.

    JSON is not to be kept by anybody on the way, unless its endpoint says otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _EVERYWHERE.items():
                    headers.setdefault(name, value)
                if headers.get("content-type", "").partition(";")[0].endswith("json"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_app(parts: Parts) -> ASGIApp:
    """The API around ``parts``. Everything but ``/health`` and plots is for those who show a key."""
    # Its pages of documentation would load scripts from servers elsewhere, and need no key.
    app = FastAPI(title="Crucible", openapi_url=None)
    handle_problems(app)
    guard = parts.guard
    reading = [Depends(guard.needs(Scope.READ))]
    app.include_router(health_router())
    app.include_router(plots_router(parts.store.sweep))
    app.include_router(description_router(), dependencies=reading)
    app.include_router(readiness_router(parts.readiness), dependencies=reading)
    app.include_router(lists_router(parts.store.listing, guard))
    app.include_router(evaluations_router(parts.desk, guard, parts.repeats))
    app.include_router(trace_router(parts.store, guard))
    app.include_router(spans_router(parts.store.spans, guard))
    app.include_router(sweeps_router(parts.store, parts.cancel_sweep, guard))
    app.include_router(rollout_router(parts.store.rollout, guard))
    app.include_router(events_router(parts.feed, guard))
    app.include_router(metrics_router(parts.figures, guard))
    app.mount("/dashboard", create_dashboard(parts.dashboard))
    return Told(SecureHeaders(app))
