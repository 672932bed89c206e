"""Errors of servers that are asked by httpx, as Crucible's: the one place where they become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from crucible.errors import ServiceUnavailable

_SHOWN = 200


@contextmanager
def http_faults(server: str, remedy: str) -> Iterator[None]:
    """Raise ``ServiceUnavailable`` for every error of httpx; ``server`` says which one is asked, and where.

    A status is an error where the caller has called ``raise_for_status``.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise http_fault(server, remedy, error) from error


def http_fault(server: str, remedy: str, error: Exception) -> ServiceUnavailable:
    """``error`` of httpx as ours, in one line: a status with what the server said, or why it said nothing."""
    if isinstance(error, httpx.HTTPStatusError):
        said = f"{error.response.status_code} {_one_line(error.response.text)[:_SHOWN]}"
        return ServiceUnavailable(f"{server} answers {said.strip()}; {remedy}")
    reason = _one_line(str(error)) or type(error).__name__
    return ServiceUnavailable(f"{server} does not answer: {reason}; {remedy}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
