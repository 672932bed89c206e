"""What may be ordered of an executor, and how an order is read."""

from base64 import b64decode
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from pydantic import Field, PlainValidator, ValidationError, ValidationInfo, field_validator
from starlette.requests import Request
from starlette.responses import Response

from crucible.errors import InputError
from crucible.models import Evaluation, Observation
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from crucible.models.frozen import Frozen
from executors.languages import LANGUAGES
from executors.sandbox.interface import checked
from executors.sandbox.supervision.files import File

_AGAIN_AFTER_S = 1


@dataclass(frozen=True)
class Problem:
    """One problem. ``retry_after_s`` is set where the same request may be sent again."""

    status: HTTPStatus
    detail: str
    retry_after_s: int | None = None

    @property
    def document(self) -> dict[str, object]:
        """The members of the problem document."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }

    def response(self) -> Response:
        """The problem as an answer of its own."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(orjson.dumps(self.document), self.status, headers, "application/problem+json")


class RefusedError(Exception):
    """A request that is not carried out; ``reason`` is the word under which it is counted."""

    def __init__(self, reason: str, problem: Problem) -> None:
        self.reason, self.problem = reason, problem
        super().__init__(problem.detail)


def sandbox_failed(seen: Observation) -> Problem:
    """The answer to a run that the platform did not bring to its end."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"the sandbox failed, the program is not to blame: {seen.detail}",
        _AGAIN_AFTER_S,
    )


MAX_BODY_BYTES = 4 * MAX_PROGRAM_BYTES
MAX_FILES, MAX_FILES_BYTES = 256, MAX_PROGRAM_BYTES
MAX_CASES = 1000
_LINES = "application/x-ndjson"


def _decoded(value: Any) -> tuple[File, ...]:
    """The files in ``{"name": "base64"}``; raises ``ValueError`` with what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("must be an object of file names and their content in base64")  # noqa: TRY004
    if len(value) > MAX_FILES:
        raise ValueError(f"are {len(value)}; the limit is {MAX_FILES}")
    files = tuple(File(_name(name), _content(name, text)) for name, text in value.items())
    size = sum(len(file.content) for file in files)
    if size > MAX_FILES_BYTES:
        raise ValueError(f"hold {size} bytes together; the limit is {MAX_FILES_BYTES}")
    return files


def _name(name: str) -> str:
    try:
        return checked(name)
    except InputError as error:
        raise ValueError(str(error)) from error


def _content(name: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{name!r} must be text in base64")  # noqa: TRY004 (pydantic takes it as refusal)
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{name!r} is not base64: {error}") from error


class Case(Frozen):
    """One run of a program: what it reads, and its caller's own name for it."""

    stdin: str = ""
    id: Annotated[str, Field(max_length=200)] | None = None

    @field_validator("stdin")
    @classmethod
    def _fits(cls, value: str) -> str:
        if (size := len(value.encode())) > MAX_PROGRAM_BYTES:
            raise ValueError(f"is {size} bytes; the limit is {MAX_PROGRAM_BYTES}")
        return value


class Order(Evaluation):
    """A program to run: once, or with ``cases`` once for each of them.

    ``files`` lie beside the program. With ``stop_at_first_failure`` the cases after the first one that
    does not end as ``ok`` are left out.
    """

    files: Annotated[tuple[File, ...], PlainValidator(_decoded)] = ()
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=MAX_CASES)] | None = None
    stop_at_first_failure: bool = False

    @field_validator("files")
    @classmethod
    def _lie_beside_each_other(cls, files: tuple[File, ...], info: ValidationInfo) -> tuple[File, ...]:
        language = LANGUAGES.get(info.data.get("language", ""))
        names = {file.path for file in files}
        if language is not None:
            if language.source in names:
                raise ValueError(f"{language.source!r} is the program's own file; give it another name")
            names.add(language.source)
        for name in names:
            folder = next((other for other in names if name.startswith(f"{other}/")), None)
            if folder is not None:
                raise ValueError(f"{name!r} cannot be in {folder!r}, which is a file itself")
        return files

    @field_validator("cases")
    @classmethod
    def _bring_their_own_stdin(cls, cases: tuple[Case, ...], info: ValidationInfo) -> tuple[Case, ...]:
        if cases is not None and info.data.get("stdin"):
            raise ValueError("each has a stdin of its own; leave out the order's")
        return cases

    @field_validator("stop_at_first_failure")
    @classmethod
    def _needs_cases(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 (called by pydantic)
        if value and "cases" in info.data and info.data["cases"] is None:
            raise ValueError("is for orders with cases")
        return value


async def read(request: Request) -> Order:
    """The order in a request; raises ``RefusedError``, with the key that does not fit."""
    body = await _body(request)
    try:
        return Order.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        detail = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise RefusedError("invalid", Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)) from error


def wants_lines(request: Request) -> bool:
    """Whether the answer is to be a stream of JSON lines."""
    accepted = request.headers.get("accept", "").split(",")
    return any(kind.partition(";")[0].strip().lower() == _LINES for kind in accepted)


async def _body(request: Request) -> bytes:
    """The body; what is beyond its limit is never held."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            detail = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise RefusedError("too_large", Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail))
        parts.append(part)
    return b"".join(parts)
