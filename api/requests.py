"""What callers send: parameters, ids and bodies, and which of them are refused."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect

from api.problems import Problem, misfit
from crucible.corpus import shortened, shown
from crucible.models.evaluation import MAX_PROGRAM_BYTES

Endpoint = Callable[..., Any]
"""The function that answers requests to one path by one method."""


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
    known = _known(request.app, request.scope["endpoint"])
    if known is None:  # it is in no description, so there is none to go by
        return
    for name, value in request.query_params.multi_items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise misfit(shortened(name), f"unknown parameter; known here: {names}")
        if "\0" in value:
            raise misfit(name, "holds a NUL character")


def _known(app: FastAPI, endpoint: Endpoint) -> frozenset[str] | None:
    """Read from the description of ``endpoint``, once; null where it has none."""
    known: dict[Endpoint, frozenset[str] | None] = vars(app).setdefault("known_parameters", {})
    if endpoint not in known:
        known[endpoint] = _described(app, endpoint)
    return known[endpoint]


def _described(app: FastAPI, endpoint: Endpoint) -> frozenset[str] | None:
    routes = [each for each in iter_route_contexts(app.routes) if each.endpoint is endpoint]
    paths = get_openapi(title="", version="", routes=routes)["paths"]
    operations = [each for path in paths.values() for each in path.values()]
    parameters = [each for operation in operations for each in operation.get("parameters", ())]
    return frozenset(each["name"] for each in parameters if each["in"] == "query") if operations else None


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


MAX_BODY_BYTES = 4 * MAX_PROGRAM_BYTES
"""The largest body that is read: a program and its input of full size, and as much again for escapes."""

MOST_HELD_BYTES = 8 * MAX_BODY_BYTES
"""Bodies that are held at once, until their requests are answered."""


class Intake:
    """Reads bodies, as long as there is memory for them."""

    def __init__(self, most_bytes: int = MOST_HELD_BYTES, body_bytes: int = MAX_BODY_BYTES) -> None:
        self._most, self._held, self._body_bytes = most_bytes, 0, body_bytes

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts as held until the end. What is beyond a bound is never held.

        Raises a 413 ``Problem`` past ``body_bytes`` and a 429 one while too much is held. A caller who
        hangs up in the middle gets a 400 ``Problem``, for the log's sake.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._body_bytes:
            raise self._too_large()
        parts, size = [], 0
        try:
            async for part in request.stream():
                if size + len(part) > self._body_bytes:
                    raise self._too_large()
                self._hold(len(part))
                size += len(part)
                parts.append(part)
            yield b"".join(parts)
        except ClientDisconnect:
            raise Problem(HTTPStatus.BAD_REQUEST, "the connection was closed before the body ended") from None
        finally:
            self._held -= size

    def _hold(self, size: int) -> None:
        if self._held + size > self._most:
            detail = f"requests of {self._held} bytes are being answered; the limit is {self._most}"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
        self._held += size

    def _too_large(self) -> Problem:
        detail = f"the body is too large; the limit is {self._body_bytes} bytes"
        return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


MAX_SMALL_BODY_BYTES = 256 * 1024
"""The largest body of a request that hands in no programs."""

_JSON = ("application/json", "application/x-www-form-urlencoded")
"""The latter is what curl says of every body unless it is told otherwise; it is read as JSON all the same."""

Model = TypeVar("Model", bound=BaseModel)

Examples = Mapping[str, object]
"""Bodies to try, by what each does."""


class JsonContent:
    """A dependency that refuses bodies which are said to be something else than JSON.

    ``kind`` is the type that describes the body, ``examples`` are bodies that are taken.
    """

    def __init__(self, kind: Any, examples: Examples) -> None:
        self.kind, self.examples = kind, examples

    async def __call__(self, request: Request) -> None:
        """Raises a 415 ``Problem``. A body of which nothing is said is taken for JSON."""
        _refuse_other_than_json(request)


class JsonBody(Generic[Model]):
    """A dependency that gives the body as a ``model``. The guard comes before it: strangers are not read."""

    def __init__(self, model: type[Model], examples: Examples) -> None:
        self.kind, self.examples = model, examples
        self._intake = Intake(body_bytes=MAX_SMALL_BODY_BYTES)

    async def __call__(self, request: Request) -> Model:
        """Raises a 413, 415, 422 or 429 ``Problem``."""
        _refuse_other_than_json(request)
        async with self._intake.body(request) as body:
            if b"\\u0000" in body:  # no text of ours has a NUL in it, and Postgres takes none
                raise misfit("", "holds a NUL character")
            try:
                return self.kind.model_validate_json(body, strict=True)
            except ValidationError as error:
                raise _misfit_of(error.errors(include_url=False)) from None


def _refuse_other_than_json(request: Request) -> None:
    named = request.headers.get("content-type", "application/json")
    kind = named.partition(";")[0].strip().lower()
    if kind not in _JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be {shortened(kind)!r}; send JSON as application/json",
            headers={"Accept": "application/json"},
        )


def _misfit_of(faults: list[ErrorDetails]) -> Problem:
    """Of several faults an unknown key is told first: a misspelt key is why another one is missing."""
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    if fault["type"] == "json_invalid":
        return misfit("", f"not JSON: {fault['ctx']['error']}")
    key = shortened(".".join(str(part) for part in fault["loc"]))
    match fault["type"]:
        case "extra_forbidden":
            return misfit(key, "unknown key")
        case "missing":
            return misfit(key, "missing")
        case "value_error":
            return misfit(key, str(fault["ctx"]["error"]))
        case _:
            return misfit(key, f"{fault['msg']}; it is {shown(fault['input'])}")
