"""The description of the API: what each endpoint takes and may answer, with examples that run."""

from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import TypeAdapter

from api.guard import Needs
from api.problems import ProblemDocument
from api.requests import JsonBody, JsonContent

Responses = dict[int | str, dict[str, Any]]

_REFERENCE = "#/components/schemas/{model}"
_WHY = {
    HTTPStatus.UNAUTHORIZED: "The key is missing, wrong, expired or revoked.",
    HTTPStatus.FORBIDDEN: "The key has not the scope that is needed.",
    HTTPStatus.NOT_FOUND: "There is nothing of that id.",
    HTTPStatus.CONFLICT: "It is not as the request has it, or a gate refuses; nothing was changed.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is said to be something else than JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something in the request does not fit; key and problem say what.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much at once; Retry-After says when to come back.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part that is needed is away; Retry-After says when to ask again.",
}
_OF_GUARDED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OF_BODIES = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_OF_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def problems(*statuses: HTTPStatus) -> Responses:
    """What ``responses`` of an endpoint says of these, each a problem document.

    What follows from the guard and from a body (401, 403, 413, 415, 422, 429, 503) is described without.
    """
    content = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}}
    return {each.value: {"description": _WHY.get(each, each.phrase), "content": content} for each in statuses}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of all endpoints of ``app`` but those that keep out of it."""
    document = get_openapi(title=app.title, version=version("crucible"), routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _OF_FRAMEWORK:
        schemas.pop(name, None)
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete(operation, route, schemas)
    return document


def _complete(operation: dict[str, Any], route: RouteContext, schemas: dict[str, Any]) -> None:
    """Add what the guard and the body do, and a summary in words."""
    operation["summary"] = _first_sentence(operation.get("description", "")) or operation["summary"]
    responses: dict[str, Any] = operation["responses"]
    for each in _dependencies(route):
        if isinstance(each, Needs):
            operation["security"] = [{"key": []}]
            operation["description"] += f"\n\nNeeds a key with the scope `{each.scope}`."
            _add(responses, _OF_GUARDED)
        if isinstance(each, JsonContent | JsonBody):
            operation["requestBody"] = _request_body(each, schemas)
            _add(responses, _OF_BODIES)
    if "application/json" in responses.get("422", {}).get("content", {}):  # the framework's own form
        responses |= _texts(problems(HTTPStatus.UNPROCESSABLE_ENTITY))
    operation["responses"] = dict(sorted(responses.items()))


def _dependencies(route: RouteContext) -> list[object]:
    return list(dict.fromkeys(each.call for each in route.dependant.dependencies))


def _request_body(body: JsonContent | JsonBody[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = TypeAdapter(body.kind).json_schema(ref_template=_REFERENCE)
    schemas |= schema.pop("$defs", {})
    examples = {name: {"summary": name, "value": value} for name, value in body.examples.items()}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _add(responses: dict[str, Any], statuses: tuple[HTTPStatus, ...]) -> None:
    for status, described in _texts(problems(*statuses)).items():
        if "application/problem+json" not in responses.get(status, {}).get("content", {}):
            responses[status] = described


def _texts(responses: Responses) -> Mapping[str, Any]:
    return {str(status): described for status, described in responses.items()}


def _first_sentence(description: str) -> str:
    return description.partition("\n")[0].partition(". ")[0].rstrip(".")


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
