"""Parameters after the question mark: those that an endpoint does not know are an error, not a shrug."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import AwareDatetime, BeforeValidator

from api.problems import Problem, misfit
from crucible.corpus_faults import shortened

Known = Mapping[Callable[..., Any], frozenset[str]]
"""The names of the parameters of each endpoint."""


def _written_out(value: object) -> object:
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt]", value):
        raise ValueError("must be a time with its zone, as 2026-11-23T02:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A time as RFC 3339 has it. Left to itself pydantic takes plain numbers for seconds, too."""


def refuse_strange_parameters(request: Request) -> None:
    """Raises a 422 ``Problem`` for a parameter that the endpoint does not know, or that holds a NUL.

    No text of ours has a NUL in it, and Postgres takes none.
    """
    if not request.scope["query_string"]:
        return
    known = _known(request.app).get(request.scope["endpoint"])
    if known is None:  # it is in no description, so there is none to go by
        return
    for name, value in request.query_params.multi_items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise misfit(shortened(name), f"unknown parameter; known here: {names}")
        if "\0" in value:
            raise misfit(name, "holds a NUL character")


def _known(app: FastAPI) -> Known:
    """Read from the description of ``app``, once: it knows what parameters there are."""
    if not hasattr(app.state, "known_parameters"):
        app.state.known_parameters = _described(app)
    known: Known = app.state.known_parameters
    return known


def _described(app: FastAPI) -> Known:
    paths = get_openapi(title="", version="", routes=app.routes)["paths"]
    return {
        route.endpoint: frozenset(
            parameter["name"]
            for parameter in paths[route.path_format][method.lower()].get("parameters", ())
            if parameter["in"] == "query"
        )
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if route.endpoint is not None and method.lower() in paths.get(route.path_format, {})
    }


_SHOWN = 60
_EVALUATION = re.compile(r"ev-[0-9A-Z]{26}")
_SWEEP = re.compile(r"sw-[0-9A-Z]{26}")


def is_evaluation_id(text: str) -> bool:
    """Whether an evaluation could have that id; no other text is looked up in the store."""
    return _EVALUATION.fullmatch(text) is not None


def is_sweep_id(text: str) -> bool:
    """Whether a sweep could have that id."""
    return _SWEEP.fullmatch(text) is not None


def unknown_evaluation(evaluation_id: str) -> Problem:
    """What is said of an evaluation that there is not."""
    return Problem(HTTPStatus.NOT_FOUND, f"no evaluation has the id {evaluation_id[:_SHOWN]!r}")


def unknown_sweep(sweep_id: str) -> Problem:
    """What is said of a sweep that there is not."""
    return Problem(HTTPStatus.NOT_FOUND, f"no sweep has the id {sweep_id[:_SHOWN]!r}")
