"""The application: endpoints, the guard before them, and problem documents for whatever goes wrong."""

from fastapi import Depends, FastAPI
from pydantic import SecretStr

from api.guard import Guard
from api.problems import handle_problems
from api.routes.evaluations import evaluations_router
from api.routes.health import health_router, readiness_router
from api.routes.plots import plots_router
from api.routes.rollout import rollout_router
from api.routes.sweeps import sweeps_router
from api.wiring import Parts


def create_app(parts: Parts, key: SecretStr) -> FastAPI:
    """The API around ``parts``. Everything but ``/health`` and plots is for those who show ``key``."""
    # Its pages of documentation would load scripts from servers elsewhere, and need no key.
    app = FastAPI(title="Crucible", openapi_url=None)
    handle_problems(app)
    guard = [Depends(Guard(key))]
    app.include_router(health_router())
    app.include_router(plots_router(parts.store.sweep))
    app.include_router(readiness_router(parts.readiness), dependencies=guard)
    app.include_router(evaluations_router(parts.desk), dependencies=guard)
    app.include_router(sweeps_router(parts.store, parts.cancel_sweep), dependencies=guard)
    app.include_router(rollout_router(parts.store.rollout), dependencies=guard)
    return app
