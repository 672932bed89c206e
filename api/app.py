"""The application: endpoints, the guard before them, and problem documents for whatever goes wrong."""

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

from api.dashboard.mount import create_dashboard
from api.headers import SecureHeaders
from api.problems import handle_problems
from api.routes.description import description_router
from api.routes.evaluations import evaluations_router
from api.routes.events import events_router
from api.routes.health import health_router, readiness_router
from api.routes.lists import lists_router
from api.routes.metrics import metrics_router
from api.routes.plots import plots_router
from api.routes.rollout import rollout_router
from api.routes.spans import spans_router
from api.routes.sweeps import sweeps_router
from api.routes.trace import trace_router
from api.telling import Told
from api.wiring import Parts
from crucible.models.access import Scope


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
