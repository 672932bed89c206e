"""What is wrong with a corpus line that does not fit, in plain words.

Only lines that were refused come here, so clarity goes before speed.
"""

import json
import re
import reprlib
from collections.abc import Iterator

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crucible.models import Evaluation, Expectation, Limits, Outcome

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_WANTED = {
    "model_type": "an object",
    "tuple_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
_PARTS: dict[tuple[str, ...], type[BaseModel]] = {("limits",): Limits, ("expect",): Expectation}


def first_fault(raw: bytes, error: ValidationError) -> tuple[str, str]:
    """Key (``limits.wall_s``; empty for the line as a whole) and problem of one refused line.

    Of several faults an unknown key is told first: a misspelt key is why another one is missing.
    """
    faults = error.errors(include_url=False)
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    if fault["type"] == "json_invalid":
        return _not_json(raw, str(fault["ctx"]["error"]))
    path = tuple(str(part) for part in fault["loc"] if isinstance(part, str))
    return shortened(".".join(path)), _problem(fault, path)


def shortened(text: str, length: int = 80) -> str:
    """``text``, cut to ``length`` characters; the cut is visible."""
    return text if len(text) <= length else f"{text[:length]}…"


def shown(value: object) -> str:
    """A JSON value on one line, shortened, as its author would write it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    brief = reprlib.Repr()
    brief.maxstring = brief.maxlong = brief.maxother = 60
    return shortened(brief.repr(value))


def _not_json(raw: bytes, reason: str) -> tuple[str, str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return "", f"not UTF-8: byte {byte:#04x} at position {error.start + 1}; convert the file to UTF-8"
    try:
        surrogate = next(_lone_surrogates(json.loads(text)), None)
    except (ValueError, RecursionError):
        surrogate = None
    if surrogate:
        path, character = surrogate
        return shortened(path), f"holds a lone surrogate (\\u{ord(character):x}); UTF-8 cannot carry it"
    return "", f"not JSON: {re.sub(r' at line 1 column ', ' at column ', reason)}"


def _lone_surrogates(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        found = re.search("[\ud800-\udfff]", value)
        if found:
            yield path, found.group()
    elif isinstance(value, dict):
        for key, inner in value.items():
            name = key.encode(errors="backslashreplace").decode()
            yield from _lone_surrogates(key, name)
            yield from _lone_surrogates(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _lone_surrogates(inner, path)


def _problem(fault: ErrorDetails, path: tuple[str, ...]) -> str:
    kind, value = fault["type"], fault["input"]
    match kind:
        case "extra_forbidden":
            problem = f"unknown key; known keys are {', '.join(_model(path).model_fields)}"
        case "missing":
            problem = "missing; every evaluation has id, language and code"
        case "greater_than_equal" | "less_than_equal":
            problem = f"is {shown(value)}; the range is {_range(path)}"
        case "string_too_short" | "too_short":
            problem = "must not be empty"
        case "string_too_long":
            problem = f"is {len(value)} characters long; the limit is {fault['ctx']['max_length']}"
        case "enum":
            problem = f"no outcome is called {shown(value)}; outcomes are {', '.join(Outcome)}"
        case "value_error":
            problem = str(fault["ctx"]["error"])
        case _ if kind in _WANTED:
            problem = f"must be {_WANTED[kind]}, not {_described(value)}"
        case _:
            problem = f"{fault['msg']}: {shown(value)}"
    return problem


def _described(value: object) -> str:
    kind = _KINDS.get(type(value), "something else")
    return kind if value is None else f"{kind} ({shown(value)})"


def _model(path: tuple[str, ...]) -> type[BaseModel]:
    """The model whose key the last part of ``path`` is."""
    return _PARTS.get(path[:-1], Evaluation)


def _range(path: tuple[str, ...]) -> str:
    bounds = _model(path).model_fields[path[-1]].metadata
    low = next(bound.ge for bound in bounds if isinstance(bound, Ge))
    high = next(bound.le for bound in bounds if isinstance(bound, Le))
    return f"{low} to {high}"
