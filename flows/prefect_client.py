"""Prefect's client with Crucible's errors: the one place where errors of its API become ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from httpx import HTTPStatusError, RequestError, codes
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from crucible.errors import ServiceUnavailable
from tasks.http_faults import http_fault

_REMEDY = "see whether it runs, or correct CRUCIBLE_PREFECT_API_URL"
_NOT_SERVED = {codes.UNAUTHORIZED, codes.FORBIDDEN, codes.REQUEST_TIMEOUT, codes.TOO_MANY_REQUESTS}


@asynccontextmanager
async def prefect_client() -> AsyncIterator[PrefectClient]:
    """The client of the Prefect session around it, or a new one, inside ``prefect_faults``."""
    with prefect_faults():
        async with get_client() as client:
            yield client


@contextmanager
def prefect_faults() -> Iterator[None]:
    """Raise ``ServiceUnavailable`` when Prefect's server does not answer, is at fault, or serves nobody now.

    That is as well so for errors within groups. Other refusals are the caller's, and stay as they are.
    """
    try:
        yield
    except (HTTPStatusError, RequestError, ExceptionGroup) as error:
        if (ours := _ours(error)) is error:
            raise
        raise ours from error


def prefect_fault(error: Exception) -> ServiceUnavailable:
    """``error`` of httpx, met with Prefect's server, as ours."""
    return http_fault(f"Prefect's server at {PREFECT_API_URL.value()}", _REMEDY, error)


def _ours(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return error.derive([_ours(each) for each in error.exceptions])
    is_fault = isinstance(error, RequestError) or (isinstance(error, HTTPStatusError) and _is_fault(error))
    return prefect_fault(error) if is_fault else error


def _is_fault(error: HTTPStatusError) -> bool:
    return error.response.is_server_error or error.response.status_code in _NOT_SERVED
