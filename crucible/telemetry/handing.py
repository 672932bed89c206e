"""How spans come back from executors, which reach nothing but their callers: in a header of the answer."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence

from crucible.telemetry.context import TRACEPARENT, text_of
from crucible.telemetry.lost import dropped
from crucible.telemetry.record import Record, decoded, encoded
from crucible.telemetry.spans import here

SPANS_HEADER = "Crucible-Spans"

MOST_BYTES = 24 << 10
"""Of the header; clients refuse lines of more than 64 KiB."""

TakeSpans = Callable[[Sequence[Record]], None]


def forget_spans(_records: Sequence[Record]) -> None:
    """For those who show nobody what executors did."""


def sent_along(headers: Mapping[str, str]) -> Mapping[str, str]:
    """``headers``, with the current place in a trace where there is one."""
    place = here()
    return headers if place is None else {**headers, TRACEPARENT: text_of(place)}


def header_of(records: Sequence[Record]) -> str:
    """The header's value for ``records``, the first of them that there is room for."""
    body = encoded(records)
    while len(body) > MOST_BYTES * 3 // 4:
        dropped("header full", len(records) - len(records) // 2)
        records = records[: len(records) // 2]
        body = encoded(records)
    return b64encode(body).decode()


def handed_over(header: str) -> list[Record]:
    """What ``header_of`` was given; nothing where it is not readable, since anybody may answer a request."""
    if len(header) > MOST_BYTES + 4:
        dropped("not readable", 1)
        return []
    try:
        return [each.model_dump(mode="json") for each in decoded(b64decode(header, validate=True))]
    except (binascii.Error, ValueError):
        dropped("not readable", 1)
        return []
