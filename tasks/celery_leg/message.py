"""Celery's messages as they lie on the broker's lists: JSON, with the arguments in it as JSON in base64."""

import binascii
from base64 import b64decode
from typing import Any

import orjson

from crucible.errors import InputError
from tasks.dispatch import Dispatch, Run

RUN_NAME = "crucible.run"
"""The name under which runs travel."""

ID_PATTERN = '"correlation_id": "([^"]+)"'
"""Lua's pattern of messages as kombu writes them, for the broker's scripts; it captures the run id."""

_SHOWN = 80


def arguments(dispatch: Dispatch) -> tuple[object, ...]:
    """The arguments with which ``dispatch`` travels."""
    program = dispatch.evaluation
    limits = program.limits.model_dump()
    return (dispatch.run_id, program.language, program.code, program.stdin, limits, dispatch.reply_to)


def received(arguments: tuple[Any, ...]) -> Run:
    """The run that travelled as ``arguments``."""
    run_id, language, code, stdin, limits, reply_to = arguments
    return Run(run_id, language, code, stdin, limits, reply_to)


def decode(message: bytes) -> Run:
    """The run in ``message``. Raises ``InputError`` when a worker could not read it; the sender's fault."""
    try:
        return _run(orjson.loads(message))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Of all that can be wrong with a document: not JSON or base64, a key that is missing, another type.
        raise InputError(f"message {message[:_SHOWN]!r} cannot be read: {error!r}") from error


def priority_of(message: bytes) -> int:
    """The broker's number for the priority of a readable message; 0, the most urgent, when it has none."""
    return int(orjson.loads(message)["properties"].get("priority") or 0)


def _run(document: dict[str, Any]) -> Run:
    headers, properties = document["headers"], document["properties"]
    if headers["task"] != RUN_NAME:
        raise ValueError(f"it is for {headers['task']!r}, not for {RUN_NAME!r}")
    kind = (document["content-type"], document["content-encoding"], headers.get("compression"))
    if kind != ("application/json", "utf-8", None):
        raise ValueError("its body is no plain JSON")
    named = (headers["id"], properties["delivery_tag"], properties["delivery_info"]["routing_key"])
    if not all(isinstance(each, str) for each in named) or "exchange" not in properties["delivery_info"]:
        raise ValueError("it has not what Celery needs to keep it")
    positional, others, _ = orjson.loads(_body(document["body"], properties))
    if others:
        raise ValueError("it has arguments with names")
    return received(tuple(positional))


def _body(body: str, properties: dict[str, Any]) -> bytes:
    if properties.get("body_encoding") != "base64":
        return body.encode()
    try:
        return b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its body is not base64: {error}") from error
